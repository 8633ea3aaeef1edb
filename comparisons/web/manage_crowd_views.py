"""The crowd and its quality: people, invitations, signals, flags, and what is done about them.

Each view reads through queries or calls one service.
"""

from datetime import timedelta

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.utils.timezone import now
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from comparisons.models import Crowdworker, Flag, Invitation
from comparisons.queries import quality as habits
from comparisons.queries.crowd import open_invitations, people, person_history
from comparisons.queries.exposure import exposure
from comparisons.queries.leaderboard import shifts_without
from comparisons.queries.pages import page_of
from comparisons.queries.replies import reply_rows
from comparisons.queries.seen_choices import last_choices
from comparisons.services import quality
from comparisons.services.onboarding import make_invitation
from comparisons.web.access import account_of, administrator_required
from comparisons.web.confirming import confirm_to_change
from comparisons.web.manage_forms import FlagForm, InvitationForm, OutcomeForm
from comparisons.web.manage_page import is_sent_again, manage_page

PAGE = 100
SEARCH = 40  # characters; no pseudonym is as long, and SQLite refuses a very long pattern


@require_http_methods(["GET", "HEAD", "POST"])
@administrator_required
def crowd(request: HttpRequest) -> HttpResponse:
    """Everyone who labels, and the invitations; a new code is shown once."""
    form = InvitationForm(request.POST or None)
    code = ""
    if request.method == "POST" and form.is_valid():
        if is_sent_again(request, what="invitation"):
            messages.info(request, "The code was made already; it was shown once.")
            return redirect("manage_crowd")
        chosen = form.cleaned_data
        days = chosen["days"]
        code = make_invitation(
            label=chosen["label"], pool=chosen["pool"], uses=chosen["uses"],
            expires_at=now() + timedelta(days=days) if days else None,
            created_by=account_of(request),
        )  # fmt: skip
        form = InvitationForm()
    search, standing = request.GET.get("q", "")[:SEARCH], request.GET.get("standing", "")
    found = people(search=search, standing=standing)
    context = {
        "page": page_of(found, asked=request.GET, size=PAGE, at="at"),
        "search": search,
        "standing": standing,
        "standings": Crowdworker.Standing.choices,
        "form": form,
        "code": code,
        "link": f"{settings.PUBLIC_URL}{reverse('join', args=[code])}" if code else "",
        "invitations": open_invitations(),
    }
    return manage_page(request, "crowd.html", place="manage_crowd", context=context)


@require_safe
@administrator_required
def person(request: HttpRequest, public_id: str) -> HttpResponse:
    """One person: what they did, how, and what was decided."""
    crowdworker = get_object_or_404(Crowdworker, public_id=public_id)
    is_effect_asked = request.GET.get("effect") == "1"
    # only when asked for: it fits the leaderboards twice
    shifts = shifts_without(crowdworker) if is_effect_asked else []
    context = {
        "person": crowdworker,
        "signals": habits.signals(crowdworker),
        "is_effect_asked": is_effect_asked,
        "choices": last_choices(crowdworker),
        "median_seconds": habits.median_seconds(crowdworker),
        "history": person_history(crowdworker),
        "counted": habits.standing_choices().filter(crowdworker=crowdworker).count(),
        "shifts": shifts[:4],
        "is_order_changed": any(shift.is_order_changed for shift in shifts),
        "aside": quality.set_aside_with(crowdworker).count(),
    }
    return manage_page(request, "person.html", place="manage_crowd", context=context)


@require_POST
@administrator_required
@confirm_to_change
def outcome(request: HttpRequest, public_id: str) -> HttpResponse:
    """Do one of the things that can be done about a person."""
    crowdworker = get_object_or_404(Crowdworker, public_id=public_id)
    form = OutcomeForm(request.POST)
    if not form.is_valid():
        messages.error(request, "Choose what to do; a reason has at most 200 characters.")
        return redirect("manage_person", public_id=public_id)
    try:
        said = _act(
            crowdworker, chosen=form.cleaned_data["outcome"], reason=form.cleaned_data["reason"],
            request=request,
        )  # fmt: skip
    except (quality.ReasonNeeded, quality.StandingRefused) as refusal:
        messages.error(request, str(refusal))
    else:
        messages.success(request, said)
    return redirect("manage_person", public_id=public_id)


def _act(crowdworker: Crowdworker, *, chosen: str, reason: str, request: HttpRequest) -> str:
    """Call the one service for the outcome; returns what to tell."""
    actor = account_of(request)
    if chosen == "no_problem":
        quality.note_no_problem(crowdworker, reason=reason, actor=actor)
        return "Noted: no problem."
    if chosen == "ask":
        quality.note_asked(crowdworker, reason=reason, actor=actor)
        return "Noted: asked."
    if chosen == "set_aside":
        count = quality.set_aside(crowdworker, reason=reason, actor=actor)
        return f"{count} choices set aside: later releases leave them out. It can be undone here."
    if chosen == "take_back":
        return f"{quality.take_back(crowdworker, actor=actor)} choices count again."
    standing = "suspended" if chosen == "suspend" else "active"
    quality.set_standing(crowdworker, standing=standing, reason=reason, actor=actor)
    return f"{crowdworker.pseudonym} is {standing} now."


@require_POST
@administrator_required
def invitation_end(request: HttpRequest, invitation_id: int) -> HttpResponse:
    """Take an invitation back."""
    invitation = get_object_or_404(Invitation, pk=invitation_id)
    if quality.take_back_invitation(invitation, actor=account_of(request)):
        messages.success(request, "The code no longer works.")
    else:
        messages.error(request, "That code was used up already.")
    return redirect("manage_crowd")


@require_safe
@administrator_required
def quality_page(request: HttpRequest) -> HttpResponse:
    """Agreement, habits worth a look, and flags."""
    flags = habits.flags_to_look_at()
    context = {
        "agreement": habits.agreement_rows(),
        "signals": habits.signals(),
        "looked_at": habits.people_looked_at(),
        "choices_looked_at": habits.CHOICES_LOOKED_AT,
        "page": page_of(flags, asked=request.GET, size=PAGE, is_oldest_first=True),
        "exposure": exposure(),
        "replies": reply_rows(),
        "counted_at": now(),
    }
    return manage_page(request, "quality.html", place="manage_quality", context=context)


@require_POST
@administrator_required
def flag_outcome(request: HttpRequest, flag_id: int) -> HttpResponse:
    """Keep a flagged turn, or leave it and what quotes it out of releases."""
    flag = get_object_or_404(Flag.objects.select_related("turn__conversation"), pk=flag_id)
    actor = account_of(request)
    form = FlagForm(request.POST)
    if not form.is_valid():
        messages.error(request, "Choose what to do; a reason has at most 200 characters.")
    elif form.cleaned_data["outcome"] == "set_aside":
        reason = form.cleaned_data["reason"] or f"flagged: {flag.get_kind_display()}"
        count = quality.set_aside_flagged(flag, reason=reason, actor=actor)
        messages.success(request, f"{count} comparisons left out of later releases.")
    elif quality.resolve_flag(flag, actor=actor):
        messages.success(request, "Looked at: the turn stays in.")
    return redirect("manage_quality")
