"""Second opinions: one transcript, two responses, one strip; the first choice is never shown.

Knows requests and forms; leases and choices belong to the services.
"""

import uuid
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.middleware.csrf import get_token
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from comparisons.models import Comparison, Crowdworker, Showing
from comparisons.queries.dialogues import messages_of
from comparisons.queries.opinions import given_item, undoable_opinion
from comparisons.queries.transcripts import sides_of, standing_comparison
from comparisons.services import giving, judging, opinions, preferences, undoing
from comparisons.services.flagging import flag_turn
from comparisons.services.onboarding import NoWork
from comparisons.web.access import NOT_YOURS, crowdworker_required
from comparisons.web.context import theme_of
from comparisons.web.conversation_views import look_of
from comparisons.web.error_views import wants_json
from comparisons.web.forms import ChoiceForm, FlagForm
from comparisons.web.stage import flag_words, key_rows, opinion_context, opinion_undo
from comparisons.web.strip import side_of, strength_of
from comparisons.web.words import script_words

KEYS = ("both_bad", "reason", "skip", "flag", "show", "undo", "instructions", "pause", "keys")


def _stage(
    request: HttpRequest, crowdworker: Crowdworker, showing: Showing | None, **more: Any
) -> dict[str, Any]:
    given = undoable_opinion(crowdworker)
    undo_link = opinion_undo(given) if given else None
    if showing is None:
        return {"showing": None, "nav": [], "undo_link": undo_link, **more}
    context = opinion_context(showing, choice_key=uuid.uuid4())
    return {
        **context,
        "said": messages_of(showing.turn),
        "sides": sides_of(showing),
        "turn": {"public_id": showing.public_id, "is_covered": showing.is_covered},
        "nav": [],
        "undo_link": undo_link,
        "request": request,
        **more,
    }


@require_safe
@crowdworker_required
def next_item(request: HttpRequest, crowdworker: Crowdworker) -> HttpResponse:
    """The item the person holds, or the next one."""
    showing = opinions.take(crowdworker, theme=theme_of(request))
    account = crowdworker.account
    keys = preferences.keys_of(account)
    more = {
        "keys": keys,
        "key_rows": key_rows(keys, only=KEYS),
        "is_reading": True,
        "words": script_words(),
        "flag_kinds": flag_words(),
    }
    context = _stage(request, crowdworker, showing, has_single_keys=account.has_single_keys, **more)
    if wants_json(request):
        html = _stage_html(request, context)
        return JsonResponse({"stage": html, "dock": "strip" if showing else "empty"})
    return render(request, "comparisons/opinion.html", context)


@require_POST
@crowdworker_required
def choice(request: HttpRequest, crowdworker: Crowdworker, public_id: Any) -> HttpResponse:
    """One second opinion; the next item comes with the answer."""
    showing = _own_item(crowdworker, public_id)
    form = ChoiceForm(request.POST)
    if not form.is_valid():
        message = _("Pick a point from 1 to 8, then choose.")
        return _refusal(request, crowdworker, status=422, error="no_pick", message=message)
    sent = form.cleaned_data
    try:
        given = giving.give_opinion(
            showing,
            crowdworker,
            side=side_of(sent["point"]),
            strength=strength_of(sent["point"]),
            text_sha256={"A": sent["sha256_a"], "B": sent["sha256_b"]},
            choice_key=sent["choice_key"],
            is_both_bad=sent["is_both_bad"],
            reason_tags=sent["reason_tags"],
            reason_text=sent["reason_text"],
            active_milliseconds=sent["active_milliseconds"],
            theme=theme_of(request),
            layout=look_of(request).layout,
        )
    except judging.ChoiceRefused as error:
        return _refusal(request, crowdworker, status=409, error="went_on", message=str(error))
    saved = str(given.comparison.public_id)
    return _answer(request, crowdworker, given.following, status=200, saved=saved)


def _refusal(
    request: HttpRequest, crowdworker: Crowdworker, *, status: int, error: str, message: str
) -> HttpResponse:
    following = opinions.take(crowdworker, theme=theme_of(request))
    return _answer(request, crowdworker, following, status=status, error=error, message=message)


def _own_item(crowdworker: Crowdworker, public_id: Any) -> Showing:
    """A second opinion that was given to the person; anything else does not exist."""
    showing = given_item(crowdworker, public_id)
    if showing is None:
        raise Http404(NOT_YOURS)
    return showing


@require_POST
@crowdworker_required
def undo(request: HttpRequest, crowdworker: Crowdworker, public_id: Any) -> HttpResponse:
    """Take the choice back; the item comes with the answer, to be chosen anew."""
    showing = _own_item(crowdworker, public_id)
    try:
        undoing.undo_opinion(standing_comparison(showing.turn, crowdworker))
    except Comparison.DoesNotExist:  # taken back already: how it stands now is the answer
        pass
    except judging.ChoiceRefused as error:
        return _refusal(request, crowdworker, status=409, error="undo_over", message=str(error))
    return _take_next(request, crowdworker)


@require_POST
@crowdworker_required
def pass_on(request: HttpRequest, crowdworker: Crowdworker, public_id: Any) -> HttpResponse:
    """Give an item back without a choice; the next one comes with the answer."""
    opinions.pass_on(_own_item(crowdworker, public_id))
    return _take_next(request, crowdworker)


@require_POST
@crowdworker_required
def flag(request: HttpRequest, crowdworker: Crowdworker, public_id: Any) -> HttpResponse:
    """Note that something in the item needs a person's look."""
    showing = _own_item(crowdworker, public_id)
    form = FlagForm(request.POST)
    if not form.is_valid():
        message = _("Say first what is wrong.")
        return _refusal(request, crowdworker, status=422, error="no_kind", message=message)
    sent = form.cleaned_data
    try:
        flag_turn(showing.turn, crowdworker, kind=sent["kind"], note=sent["note"])
    except NoWork as error:
        return _refusal(request, crowdworker, status=409, error="no_work", message=str(error))
    return _take_next(request, crowdworker)


def _take_next(request: HttpRequest, crowdworker: Crowdworker) -> HttpResponse:
    following = opinions.take(crowdworker, theme=theme_of(request))
    return _answer(request, crowdworker, following, status=200)


def _answer(
    request: HttpRequest,
    crowdworker: Crowdworker,
    following: Showing | None,
    *,
    status: int,
    **facts: str,
) -> HttpResponse:
    if not wants_json(request):
        return redirect("opinions")
    context = _stage(request, crowdworker, following)
    dock = "strip" if context["showing"] else "empty"
    return JsonResponse(
        {**facts, "stage": _stage_html(request, context), "dock": dock}, status=status
    )


def _stage_html(request: HttpRequest, context: dict[str, Any]) -> str:
    """The part that changes; it needs the form's token of the request, and nothing of the shell."""
    return render_to_string(
        "comparisons/_opinion_stage.html", {**context, "csrf_token": get_token(request)}
    )
