"""The lab's pages of the online loop: its iterations, and one of them step by step.

Knows forms and templates; what comes next is the loop's decision.
"""

from collections.abc import Callable

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from comparisons.models import Account
from comparisons.services.releasing import ReleaseRefused
from comparisons.web.access import account_of, administrator_required, researcher_required
from comparisons.web.confirming import confirm_to_change
from training import iterations, online_loop
from training.models import Iteration
from training.web.forms import IterationForm
from training.web.shell import lab


@require_http_methods(["GET"])
@researcher_required
def lab_iterations(request: HttpRequest) -> HttpResponse:
    """Every iteration, newest first, and the form of the next."""
    found = Iteration.objects.select_related("slot", "release")
    is_open = found.filter(state__in=online_loop.OPEN).exists()
    context = lab(
        request, iterations=found, is_open=is_open, form=None if is_open else IterationForm()
    )
    return render(request, "training/iterations.html", context)


@require_POST
@administrator_required
@confirm_to_change
def begin_iteration(request: HttpRequest) -> HttpResponse:
    """Open the next iteration."""
    form = IterationForm(request.POST)
    refusal = ""
    if form.is_valid():
        try:
            begun = online_loop.begin(
                slot=form.cleaned_data["slot"], wanted=form.wanted(), actor=account_of(request)
            )
        except (online_loop.LoopRefused, ReleaseRefused) as refused:
            refusal = str(refused)
        else:
            return redirect("iteration", begun.number)
    found = Iteration.objects.select_related("slot", "release")
    is_open = found.filter(state__in=online_loop.OPEN).exists()
    context = lab(
        request, iterations=found, is_open=is_open, form=form, refusal=refusal,
        own_address=reverse("lab_iterations"),
    )  # fmt: skip
    return render(request, "training/iterations.html", context, status=400)


@require_GET
@researcher_required
def iteration(request: HttpRequest, number: int) -> HttpResponse:
    """One iteration: its steps in order, with inputs, outcomes and cost."""
    found = get_object_or_404(Iteration.objects.select_related("slot", "release"), number=number)
    context = lab(
        request, iteration=found, steps=iterations.steps(found), wanted=iterations.LoopSettings.of(found),
        device_time=iterations.device_time(found), is_open=found.state in online_loop.OPEN,
        notes=found.notes[::-1], retried=online_loop.RETRIED,
    )  # fmt: skip
    return render(request, "training/iteration.html", context)


@require_POST
@researcher_required
def advance_iteration(request: HttpRequest, number: int) -> HttpResponse:
    """Go as far as can be gone now; the clock does the same every minute."""
    return _do(request, number, lambda found, _actor: online_loop.advance(found))


@require_POST
@administrator_required
@confirm_to_change
def start_iteration_now(request: HttpRequest, number: int) -> HttpResponse:
    """Begin with the comparisons there are."""
    return _do(request, number, lambda found, actor: online_loop.start_now(found, actor=actor))


@require_POST
@researcher_required
@confirm_to_change
def retry_step(request: HttpRequest, number: int) -> HttpResponse:
    """Ask for a failed step again."""
    step, reason = request.POST.get("step", ""), request.POST.get("reason", "")[:400]
    return _do(
        request, number,
        lambda found, actor: online_loop.retry(found, step=step, reason=reason, actor=actor),
    )  # fmt: skip


@require_POST
@administrator_required
def end_iteration(request: HttpRequest, number: int) -> HttpResponse:
    """Close it without a promotion."""
    reason = request.POST.get("reason", "")[:400]
    return _do(
        request, number, lambda found, actor: online_loop.end(found, reason=reason, actor=actor)
    )


def _do(
    request: HttpRequest, number: int, act: Callable[[Iteration, Account], Iteration]
) -> HttpResponse:
    found = get_object_or_404(Iteration, number=number)
    try:
        act(found, account_of(request))
    except online_loop.LoopRefused as refused:
        messages.error(request, str(refused))
    return redirect("iteration", number)
