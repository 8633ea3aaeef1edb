"""The lab's pages of slots: trial, promotion with its evidence, roll-back; and the leaderboard.

Knows forms and templates; who may serve is decided by promotion, on evidence.
"""

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from comparisons.models.campaign import Objective
from comparisons.queries.leaderboard import leaderboard as read_leaderboard
from comparisons.queries.leaderboard import left_out
from comparisons.web.access import account_of, administrator_required, researcher_required
from comparisons.web.confirming import confirm_to_change
from modelserving import promotion
from modelserving.core.traffic import PlacesError
from modelserving.models import Deployment, Slot
from modelserving.shifts import places_with_ages, shifts_of_roll_back, who_left
from training import trials
from training.evidence import evidence_for, serving_in
from training.report.standings import dots
from training.web.forms import PromotionForm, TrafficForm, TrialForm
from training.web.shell import lab

Refusals = (promotion.PromotionRace, promotion.GateNotMet, promotion.NothingToRollBack, PlacesError)


@require_GET
@researcher_required
def slots(request: HttpRequest) -> HttpResponse:
    """Every slot with what serves and what is on trial."""
    found = Slot.objects.prefetch_related("campaigns")
    standing = [(each, places_with_ages(each)) for each in found]
    return render(request, "training/slots.html", lab(request, slots=standing))


@require_GET
@researcher_required
def slot(request: HttpRequest, pk: int) -> HttpResponse:
    """One slot: its places and its whole history."""
    found = get_object_or_404(Slot, pk=pk)
    events = list(found.events.select_related("deployment", "previous", "actor"))
    for event in events:
        event.who_left = who_left(event)
    context = lab(
        request, slot=found, events=events, serving=serving_in(found), last=promotion.last_promotion(found),
        campaigns=found.campaigns.all(), places=places_with_ages(found),
    )  # fmt: skip
    return render(request, "training/slot.html", context)


@require_POST
@researcher_required
@confirm_to_change
def put_on_trial(request: HttpRequest, deployment_pk: int) -> HttpResponse:
    """Give a deployment a share of a slot's traffic; nothing is restarted."""
    deployment = get_object_or_404(Deployment, pk=deployment_pk)
    form = TrialForm(request.POST)
    if not form.is_valid():
        messages.error(request, _("Choose a slot and a share between 1 and 99 percent."))
        return redirect("lab_slots")
    chosen = form.cleaned_data["slot"]
    try:
        trials.put_on_trial(
            chosen, deployment, traffic=form.cleaned_data["traffic"], actor=account_of(request),
            reason=form.cleaned_data["reason"],
        )  # fmt: skip
    except Refusals as refused:
        messages.error(request, str(refused))
    else:
        messages.success(request, _("%(name)s is on trial.") % {"name": deployment.name})
    return redirect("slot", chosen.pk)


@require_http_methods(["GET", "POST"])
@administrator_required
@confirm_to_change
def promote(request: HttpRequest, pk: int, deployment_pk: int) -> HttpResponse:
    """Evidence first, buttons last."""
    found = get_object_or_404(Slot, pk=pk)
    candidate = get_object_or_404(Deployment, pk=deployment_pk, places__slot=found)
    evidence = evidence_for(found, candidate)
    form = PromotionForm(request.POST if request.method == "POST" else None)
    refusal = ""
    if request.method == "POST" and form.is_valid():
        try:
            trials.promote(
                found, candidate, expected_generation=form.cleaned_data["generation"],
                actor=account_of(request), reason=form.cleaned_data["reason"],
                is_forced=form.cleaned_data["is_forced"],
            )  # fmt: skip
        except Refusals as refused:
            refusal = str(refused)
        else:
            messages.success(request, _("%(name)s is serving.") % {"name": candidate.name})
            return redirect("slot", pk)
    context = lab(
        request, slot=found, candidate=candidate, serving=serving_in(found), evidence=evidence, refusal=refusal,
        reason=request.POST.get("reason", ""),
    )  # fmt: skip
    return render(request, "training/promote.html", context, status=409 if refusal else 200)


@require_http_methods(["GET", "POST"])
@administrator_required
@confirm_to_change
def roll_back(request: HttpRequest, pk: int) -> HttpResponse:
    """Back to what served before; everything the other wrote stays in the record."""
    found = get_object_or_404(Slot, pk=pk)
    form = PromotionForm(request.POST if request.method == "POST" else None)
    refusal = ""
    if request.method == "POST" and form.is_valid():
        try:
            event = trials.roll_back(
                found, expected_generation=form.cleaned_data["generation"], actor=account_of(request),
                reason=form.cleaned_data["reason"],
            )  # fmt: skip
        except Refusals as refused:
            refusal = str(refused)
        else:
            messages.success(request, _("%(name)s is serving.") % {"name": event.deployment.name})
            if left := who_left(event):
                messages.info(request, _("Left the slot: %(names)s.") % {"names": ", ".join(left)})
            return redirect("slot", pk)
    context = lab(
        request, slot=found, last=promotion.last_promotion(found), refusal=refusal,
        shifts=shifts_of_roll_back(found),
    )  # fmt: skip
    return render(request, "training/roll_back.html", context, status=409 if refusal else 200)


@require_POST
@administrator_required
@confirm_to_change
def set_traffic(request: HttpRequest, pk: int) -> HttpResponse:
    """New shares for every deployment that takes part; 100 percent in all."""
    found = get_object_or_404(Slot, pk=pk)
    form = TrafficForm(request.POST, slot=found)
    if not form.is_valid():
        messages.error(request, _("Give each deployment a whole number from 0 to 100."))
        return redirect("slot", pk)
    try:
        trials.set_traffic(
            found, form.shares(), expected_generation=form.cleaned_data["generation"],
            actor=account_of(request), reason=form.cleaned_data["reason"],
        )  # fmt: skip
    except Refusals as refused:
        messages.error(request, str(refused))
    else:
        messages.success(request, _("The new shares hold from the next turn on."))
    return redirect("slot", pk)


@require_POST
@administrator_required
def retire(request: HttpRequest, pk: int, deployment_pk: int) -> HttpResponse:
    """Take a deployment out of the draw."""
    found = get_object_or_404(Slot, pk=pk)
    leaving = get_object_or_404(Deployment, pk=deployment_pk, places__slot=found)
    form = PromotionForm(request.POST)
    try:
        generation = form.cleaned_data["generation"] if form.is_valid() else -1
        trials.retire(
            found, leaving, expected_generation=generation, actor=account_of(request),
            reason=request.POST.get("reason", "")[:400],
        )  # fmt: skip
    except Refusals as refused:
        messages.error(request, str(refused))
    else:
        messages.success(request, _("%(name)s takes no new turns.") % {"name": leaving.name})
    return redirect("slot", pk)


@require_GET
@researcher_required
def leaderboard(request: HttpRequest) -> HttpResponse:
    """Crowd Elo with intervals; helpful and harmless are never added up."""
    asked = request.GET.get("objective", "")
    objective = asked if asked in Objective.values else Objective.HELPFUL.value
    has_simulated = request.GET.get("simulated") == "1"
    board = read_leaderboard(objective, has_simulated=has_simulated)
    context: dict[str, Any] = lab(
        request, board=board, objective=objective, objectives=Objective.choices, dots=dots(board),
        has_simulated=has_simulated, left_out=left_out(objective, has_simulated=has_simulated),
    )  # fmt: skip
    return render(request, "training/leaderboard.html", context)
