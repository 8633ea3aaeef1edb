"""Practice comparisons: one at a time on the usual cards and strip, the explanation after each.

Knows requests and words; which item comes next and who passes is decided by the service.
"""

import uuid
from hashlib import sha256
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from comparisons.models import Campaign, Crowdworker, QualificationAnswer, QualificationItem
from comparisons.queries import work
from comparisons.queries.practice import is_at_work
from comparisons.queries.transcripts import SideView
from comparisons.services import onboarding, preferences, qualifying
from comparisons.services.drawing import current_instructions, is_covered
from comparisons.web.access import crowdworker_required
from comparisons.web.crowd_views import visible_campaign
from comparisons.web.error_views import problem, wants_json
from comparisons.web.forms import PracticeForm
from comparisons.web.stage import key_rows, strip_words
from comparisons.web.strip import QUESTIONS, side_of, strength_of
from comparisons.web.words import script_words

KEYS = ("both_bad", "reason", "show", "instructions", "keys")


@require_safe
@crowdworker_required
def practice(request: HttpRequest, crowdworker: Crowdworker, slug: str) -> HttpResponse:
    """The next item, or how the practice ended."""
    campaign = visible_campaign(crowdworker, slug)
    now = qualifying.progress(crowdworker, campaign)
    if is_at_work(crowdworker, campaign) and now is not None and not now.has_passed:
        return redirect("campaign_home", campaign.slug)  # what was begun is finished first
    if now is None or (before := _comes_before(crowdworker, campaign)):
        return redirect(before if now else "campaign_home", campaign.slug)
    context = _now(crowdworker, campaign, now, goes_on="again" in request.GET)
    account = crowdworker.account
    keys = preferences.keys_of(account)
    page = {
        "keys": keys,
        "key_rows": key_rows(keys, only=KEYS),
        "is_reading": True,
        "words": script_words(),
        "has_single_keys": account.has_single_keys,
        "nav": [],
    }
    return render(request, "comparisons/practice.html", {**page, **context})


def _comes_before(crowdworker: Crowdworker, campaign: Campaign) -> str:
    """The page of what has to be done before the practice: the warning, then the instructions."""
    if campaign.state != Campaign.State.LIVE:
        return "campaign_home"
    if campaign.is_red_team and not crowdworker.is_red_team_opted_in:
        return "campaign_home"
    if not onboarding.has_consented(crowdworker, current_instructions(campaign)):
        return "instructions"
    return ""


def _now(
    crowdworker: Crowdworker, campaign: Campaign, now: qualifying.Progress, *, goes_on: bool
) -> dict[str, Any]:
    item = now.next_item
    last = now.results[-1] if now.results else None
    is_between = last is not None and not now.answers and not goes_on
    if item is None or is_between:
        return {
            "kind": "result",
            "campaign": campaign,
            "progress": now,
            "last": last,
            "others": work.open_campaigns(crowdworker).exclude(pk=campaign.pk),
        }
    return _item_context(crowdworker, campaign, now, item)


def _item_context(
    crowdworker: Crowdworker,
    campaign: Campaign,
    now: qualifying.Progress,
    item: QualificationItem,
) -> dict[str, Any]:
    """The cards and the strip of one item."""
    place = [campaign.slug, now.number, item.number]
    covered = is_covered(crowdworker, campaign)
    return {
        "kind": "item",
        "campaign": campaign,
        "progress": now,
        "item": item,
        "sides": _sides(crowdworker, item, now.number),
        "turn": {"public_id": f"practice-{now.number}-{item.number}", "is_covered": covered},
        "choice_key": uuid.uuid4(),
        "choice_url": reverse("practice_choice", args=place),
        "is_opinion": True,
        **strip_words(campaign, is_opinion=True),
    }


def _sides(
    crowdworker: Crowdworker, item: QualificationItem, number: int, *, picked: str = ""
) -> list[SideView]:
    """Both texts under the letters that the person sees; `picked` is the item's own letter."""
    texts = qualifying.sides(crowdworker=crowdworker, item=item, number=number)
    own = {"A": item.response_a, "B": item.response_b}.get(picked)
    return [
        SideView(
            letter=letter,
            state="ready",
            text=text,
            sha256=sha256(text.encode()).hexdigest(),
            is_stopped=False,
            is_cut=False,
            can_retry=False,
            is_picked=text == own,  # the two are never alike
        )
        for letter, text in zip("AB", texts, strict=True)
    ]


@require_POST
@crowdworker_required
def choice(
    request: HttpRequest, crowdworker: Crowdworker, slug: str, number: int, item: int
) -> HttpResponse:
    """Keep one answer, then say what the examples would pick and why."""
    campaign = visible_campaign(crowdworker, slug)
    form = PracticeForm(request.POST)
    if before := _comes_before(crowdworker, campaign):
        return redirect(before, campaign.slug)
    if not form.is_valid():
        message = _("Pick a point from 1 to 8, then choose.")
        return problem(request, status=422, code="no_pick", message=message)
    sent = form.cleaned_data
    try:
        answer = qualifying.answer(
            crowdworker,
            campaign,
            number=number,
            item_number=item,
            side=side_of(sent["point"]),
            strength=strength_of(sent["point"]),
            active_milliseconds=sent["active_milliseconds"],
        )
    except qualifying.PracticeOver as error:
        if not wants_json(request):
            return redirect("practice", campaign.slug)
        return problem(request, status=409, code="went_on", message=str(error))
    return _explained(request, crowdworker, campaign, answer)


def _explained(
    request: HttpRequest,
    crowdworker: Crowdworker,
    campaign: Campaign,
    answer: QualificationAnswer,
) -> HttpResponse:
    """The answer's explanation: a stage for the script, a page for a plain form."""
    item, number = answer.item, answer.attempt.number
    known = qualifying.letter_shown(side=item.known_side, is_mirrored=answer.is_mirrored)
    said = known_words(letter=known, is_right=answer.is_right)
    context = {
        "kind": "why",
        "campaign": campaign,
        "item": item,
        "total": item.qualification.items.count(),
        "said": said,
        "why": with_letters(item.why, right=known),
        "sides": _sides(crowdworker, item, number, picked=answer.picked_side),
        "turn": {"public_id": f"why-{number}-{item.number}", "is_covered": False},
        "question": QUESTIONS[campaign.question],
        "nav": [],
    }
    if not wants_json(request):
        return render(request, "comparisons/practice.html", context)
    html = render_to_string("comparisons/_practice_stage.html", context, request=request)
    return JsonResponse({"saved": str(answer.pk), "stage": html, "dock": "next", "said": said})


def with_letters(why: str, *, right: str) -> str:
    """The explanation with the letters that this person sees the two responses under."""
    other = {"A": "B", "B": "A"}[right]
    return why.replace("{right}", right).replace("{other}", other)


def known_words(*, letter: str, is_right: bool) -> str:
    """Which side the examples pick, kindly."""
    if is_right:
        return {
            "A": _("We see it the same way: response A is the one to pick."),
            "B": _("We see it the same way: response B is the one to pick."),
        }[letter]
    return {
        "A": _("We see this one differently: response A is the one to pick."),
        "B": _("We see this one differently: response B is the one to pick."),
    }[letter]
