"""What a person does with a turn: choose, undo, skip, stop, ask again, flag.

Knows requests and forms; the services decide and the database's constraints settle races.
"""

import uuid
from collections.abc import Callable
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from comparisons.models import Comparison, Crowdworker, Showing, Turn
from comparisons.queries.transcripts import (
    sides_of,
    standing_comparison,
    standing_showing,
    turn_of,
)
from comparisons.services import judging, turns, undoing, writing
from comparisons.services.chat import ChatRefused
from comparisons.services.flagging import flag_turn
from comparisons.web.access import NOT_YOURS, crowdworker_required
from comparisons.web.conversation_views import REFUSED, look_of, refused
from comparisons.web.forms import ChoiceForm, FlagForm, WriteForm
from comparisons.web.stage import answer, refusal
from comparisons.web.strip import side_of, strength_of

CODES = {
    judging.AlreadyJudged: "already_judged",
    judging.TextChanged: "text_changed",
    judging.NotReady: "not_ready",
    judging.LeaseOver: "lease_over",
    judging.ConversationOver: "went_on",
    judging.TakenBack: "taken_back",
    judging.UndoOver: "undo_over",
}


def own_turn(crowdworker: Crowdworker, public_id: Any) -> Turn:
    """A turn of the person's own conversation, or nothing at this address."""
    try:
        return turn_of(crowdworker, public_id)
    except Turn.DoesNotExist:
        raise Http404(NOT_YOURS) from None


@require_POST
@crowdworker_required
def choice(request: HttpRequest, crowdworker: Crowdworker, public_id: Any) -> HttpResponse:
    """One choice; sent twice with the same key it is stored once."""
    turn = own_turn(crowdworker, public_id)
    form = ChoiceForm(request.POST)
    if not form.is_valid():
        message = _("Pick a point from 1 to 8, then choose.")
        return refusal(request, turn.conversation, status=422, code="no_pick", message=message)
    sent = form.cleaned_data
    try:
        comparison = judging.record_choice(
            standing_showing(turn),
            side=side_of(sent["point"]),
            strength=strength_of(sent["point"]),
            text_sha256={"A": sent["sha256_a"], "B": sent["sha256_b"]},
            choice_key=sent["choice_key"],
            is_both_bad=sent["is_both_bad"],
            reason_tags=sent["reason_tags"],
            reason_text=sent["reason_text"],
            active_milliseconds=sent["active_milliseconds"],
        )
    except judging.ChoiceRefused as error:
        return not_chosen(request, turn, error)
    return answer(request, turn.conversation, saved=str(comparison.public_id))


def not_chosen(request: HttpRequest, turn: Turn, error: judging.ChoiceRefused) -> HttpResponse:
    """A choice that cannot stand: 409, why, and how things stand now."""
    code = CODES.get(type(error), "no_pick")
    status = 422 if code == "no_pick" else 409
    return refusal(request, turn.conversation, status=status, code=code, message=str(error))


@require_http_methods(["GET", "HEAD", "POST"])
@crowdworker_required
def write(request: HttpRequest, crowdworker: Crowdworker, public_id: Any) -> HttpResponse:
    """Edit a response or write one: a page of its own, back to the conversation afterwards."""
    turn = own_turn(crowdworker, public_id)
    is_sent = request.method == "POST"
    is_typed = bool(request.POST.get("text", "").strip())  # comes back, whatever went on elsewhere
    if turn.state == Turn.State.CHOSEN and not is_typed:
        return redirect("conversation", turn.conversation.public_id)
    showing = standing_showing(turn)
    asked = request.POST if is_sent else request.GET
    is_edit = asked.get("kind") != "own"
    is_ready = turn.state == Turn.State.READY
    if not is_typed and not (is_ready and writing.may_write(showing, is_edit=is_edit)):
        raise Http404(NOT_YOURS)
    form = WriteForm(request.POST or None)
    if not is_sent or not form.is_valid():
        return _write_page(request, showing, is_edit=is_edit)
    sent = form.cleaned_data
    try:
        writing.prefer_own(
            showing,
            side=sent["side"],
            text=sent["text"],
            is_edit=is_edit,
            text_sha256={"A": sent["sha256_a"], "B": sent["sha256_b"]},
            choice_key=sent["choice_key"],
            active_milliseconds=sent["active_milliseconds"],
        )
    except judging.ChoiceRefused as error:
        return _write_page(request, standing_showing(turn), is_edit=is_edit, error=error)
    return redirect("conversation", turn.conversation.public_id)


def _write_page(
    request: HttpRequest,
    showing: Showing,
    *,
    is_edit: bool,
    error: judging.ChoiceRefused | None = None,
) -> HttpResponse:
    """The page as it stands now; what was typed is kept, and no response is shown before both are."""
    asked = request.POST if request.method == "POST" else request.GET
    side = "B" if asked.get("side") == "B" else "A"
    is_shown = showing.turn.state in {Turn.State.READY, Turn.State.CHOSEN}
    sides = sides_of(showing) if is_shown else ()
    shown = next((each for each in sides if each.letter == side), None)
    message = "" if is_shown else _("You can write when both responses are complete.")
    is_spent = isinstance(error, judging.TakenBack)  # its key never stores anything again
    context = {
        "turn": showing.turn,
        "side": side,
        "sides": sides,
        "shown": shown,
        "is_edit": is_edit,
        "is_covered": is_shown and showing.is_covered,
        "text": request.POST.get("text", shown.text if shown and is_edit else ""),
        "choice_key": (not is_spent and request.POST.get("choice_key")) or uuid.uuid4(),
        "spent": request.POST.get("active_milliseconds", ""),
        "message": str(error) if error else message,
    }
    refused_as = 409 if type(error) in CODES else 422
    status = refused_as if request.method == "POST" else 200
    return render(request, "comparisons/write.html", context, status=status)


@require_POST
@crowdworker_required
def undo(request: HttpRequest, crowdworker: Crowdworker, public_id: Any) -> HttpResponse:
    """Take the standing choice back."""
    turn = own_turn(crowdworker, public_id)
    try:
        undoing.undo_choice(standing_comparison(turn, crowdworker))
    except Comparison.DoesNotExist:
        return answer(request, turn.conversation)
    except judging.ChoiceRefused as error:
        return not_chosen(request, turn, error)
    return answer(request, turn.conversation)


def _change(request: HttpRequest, turn: Turn, act: Callable[[], object]) -> HttpResponse:
    try:
        act()
    except REFUSED as error:
        return refused(request, turn.conversation, error)
    return answer(request, turn.conversation)


@require_POST
@crowdworker_required
def skip(request: HttpRequest, crowdworker: Crowdworker, public_id: Any) -> HttpResponse:
    """Leave the turn out of the transcript; a reason may follow."""
    turn = own_turn(crowdworker, public_id)
    reason = request.POST.get("reason", "")
    return _change(request, turn, lambda: turns.skip_turn(turn, reason=reason))


@require_POST
@crowdworker_required
def unskip(request: HttpRequest, crowdworker: Crowdworker, public_id: Any) -> HttpResponse:
    """Take the skip back."""
    turn = own_turn(crowdworker, public_id)
    return _change(request, turn, lambda: turns.unskip_turn(turn))


@require_POST
@crowdworker_required
def stop(request: HttpRequest, crowdworker: Crowdworker, public_id: Any) -> HttpResponse:
    """Stop both sides; what is there can be judged."""
    turn = own_turn(crowdworker, public_id)
    return _change(request, turn, lambda: turns.stop_turn(turn))


@require_POST
@crowdworker_required
def regenerate(request: HttpRequest, crowdworker: Crowdworker, public_id: Any) -> HttpResponse:
    """Two new responses in place of these."""
    turn = own_turn(crowdworker, public_id)
    look = look_of(request)
    return _change(request, turn, lambda: turns.regenerate(turn, look=look))


@require_POST
@crowdworker_required
def retry(request: HttpRequest, crowdworker: Crowdworker, public_id: Any) -> HttpResponse:
    """Write a failed side again."""
    turn = own_turn(crowdworker, public_id)
    side = "A" if request.POST.get("side") == "A" else "B"
    return _change(request, turn, lambda: turns.retry_side(turn, side))


@require_POST
@crowdworker_required
def flag(request: HttpRequest, crowdworker: Crowdworker, public_id: Any) -> HttpResponse:
    """A note that a person should look at this turn."""
    turn = own_turn(crowdworker, public_id)
    form = FlagForm(request.POST)
    if not form.is_valid():
        error = ChatRefused(_("Say what is wrong with this turn."))
        return refused(request, turn.conversation, error)
    sent = form.cleaned_data
    try:
        flag_turn(turn, crowdworker, kind=sent["kind"], note=sent["note"])
    except REFUSED as error:
        return refused(request, turn.conversation, error)
    return answer(request, turn.conversation, flagged=True)
