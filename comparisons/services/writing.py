"""A person's own response: edited from one that was shown, or written anew, where the campaign allows it.

Knows showings and responses; it is stored as better than the one it stands beside (Bai et al. 2022, D.2).
"""

import uuid
from collections.abc import Mapping
from hashlib import sha256

from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from comparisons.core.cleaning import cleaned
from comparisons.models import Comparison, Response, Showing, Turn
from comparisons.models.campaign import Question
from comparisons.services import judging
from comparisons.services.active_time import at_most, count_active
from comparisons.services.chat import lock_conversation
from comparisons.services.judging import AlreadyJudged, ChoiceRefused, NotReady

MOST_CHARACTERS = 20_000


class WritingRefused(ChoiceRefused):
    """The campaign does not take responses written by people, or the text is not usable."""


def prefer_own(
    showing: Showing,
    *,
    side: str,
    text: str,
    is_edit: bool,
    text_sha256: Mapping[str, str],
    choice_key: uuid.UUID,
    active_milliseconds: int | None = None,
) -> Comparison:
    """Store the person's text as picked over the response of `side`; the dialogue goes on from it."""
    if standing := judging.of_key(showing.turn, choice_key):
        return standing
    beside = showing.side_a if side == "A" else showing.side_b
    written = _checked(showing, beside, text=text, is_edit=is_edit)
    try:
        judging.check_showing(showing)
        judging.check_texts(showing, text_sha256)
        with transaction.atomic():
            return _store(
                showing,
                beside=beside,
                side=side,
                written=written,
                is_edit=is_edit,
                choice_key=choice_key,
                active_milliseconds=active_milliseconds,
            )
    except (IntegrityError, AlreadyJudged):
        if standing := judging.of_key(showing.turn, choice_key):
            return standing
        judging.check_key(choice_key)
        raise AlreadyJudged(_("This turn was chosen already.")) from None


def may_write(showing: Showing, *, is_edit: bool) -> bool:
    """Whether the campaign takes such a text; never where the worse response is asked for."""
    campaign = showing.turn.conversation.campaign
    if campaign is None or campaign.question == Question.MORE_HARMFUL:
        return False
    return campaign.allows_edit if is_edit else campaign.allows_write


def _checked(showing: Showing, beside: Response, *, text: str, is_edit: bool) -> str:
    if not may_write(showing, is_edit=is_edit) or showing.purpose != Showing.Purpose.AUTHOR:
        raise WritingRefused(_("This campaign does not take responses written by people."))
    sides = (showing.side_a, showing.side_b)
    if any(response.state != Response.State.READY for response in sides):
        raise NotReady(_("You can write when both responses are complete."))
    written = cleaned(text)
    if not written or len(written) > MOST_CHARACTERS:
        words = _("Write between 1 and {most} characters.")
        raise WritingRefused(words.format(most=MOST_CHARACTERS))
    if written == cleaned(beside.text):
        raise WritingRefused(_("The text is the same as before. Change it, or choose it as it is."))
    return written


def _store(
    showing: Showing,
    *,
    beside: Response,
    side: str,
    written: str,
    is_edit: bool,
    choice_key: uuid.UUID,
    active_milliseconds: int | None,
) -> Comparison:
    turn = showing.turn
    conversation = lock_conversation(turn.conversation)
    judging.check_open(conversation)
    campaign = conversation.campaign
    assert campaign is not None
    own = _response(showing, text=written, edited_from=beside if is_edit else None)
    _replace(showing)
    sides = (own, beside) if side == "A" else (beside, own)
    comparison = Comparison.objects.create(
        showing=_shown_as(showing, sides),
        turn=turn,
        crowdworker=showing.crowdworker,
        picked=own,
        other=beside,
        side=side,
        question=campaign.question,
        objective=conversation.objective,
        tranche=campaign.tranche,
        origin=conversation.origin,
        choice_key=choice_key,
        active_milliseconds=at_most(active_milliseconds),
    )
    waiting = Turn.objects.filter(pk=turn.pk, state=Turn.State.READY, continued_by__isnull=True)
    if waiting.update(state=Turn.State.CHOSEN, continued_by=comparison) != 1:
        raise AlreadyJudged(_("This turn was chosen or skipped already."))
    count_active(conversation, active_milliseconds or 0)
    return comparison


def _replace(showing: Showing) -> None:
    """The pair stands no longer; refuses where it was chosen or written anew meanwhile."""
    standing = Showing.objects.filter(pk=showing.pk, replaced_at__isnull=True)
    if standing.update(replaced_at=timezone.now()) != 1:
        showing.refresh_from_db(fields=["replaced_at"])
        judging.check_showing(showing)
        raise AlreadyJudged(_("This turn went on elsewhere."))


def _response(showing: Showing, *, text: str, edited_from: Response | None) -> Response:
    """The person's text as a complete response."""
    return Response.objects.create(
        turn=showing.turn,
        author=showing.crowdworker,
        edited_from=edited_from,
        state=Response.State.READY,
        text=text,
        text_sha256=sha256(text.encode()).hexdigest(),
        finish_reason=Response.FinishReason.WRITTEN,
        completed_at=timezone.now(),
    )


def _shown_as(showing: Showing, sides: tuple[Response, Response]) -> Showing:
    """A showing like this one, of these two."""
    return Showing.objects.create(
        turn=showing.turn,
        crowdworker=showing.crowdworker,
        side_a=sides[0],
        side_b=sides[1],
        instruction_version=showing.instruction_version,
        layout=showing.layout,
        theme=showing.theme,
        is_covered=showing.is_covered,
    )
