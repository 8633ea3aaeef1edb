"""What may be done to a turn while it is open: stop, skip, take the skip back, ask again.

Knows turns and their standing showing; every change is a conditional update whose rows are counted.
"""

from django.db import transaction
from django.db.models import F
from django.utils import timezone
from django.utils.translation import gettext as _

from comparisons.models import Conversation, Response, Showing, Turn
from comparisons.services.chat import (
    OPEN_TURN,
    ChatRefused,
    WentOn,
    check_goes_on,
    check_may_say,
    check_writes_nowhere_else,
    lock_conversation,
    ring,
)
from comparisons.services.drawing import Draw, Look, add_responses, draw_pair

MOST_REGENERATIONS = 5
MOST_TRIES = 2  # of one failed side
SKIP_REASONS = ("know_too_little", "upsetting", "technical", "other")


def stop_turn(turn: Turn) -> None:
    """Ask the writer to stop both sides; what is there can be judged."""
    writing = Turn.objects.filter(pk=turn.pk, state=Turn.State.GENERATING, is_held_back=False)
    writing.update(is_stop_requested=True)


def known_reason(said: str) -> str:
    """One of the reasons that are offered, or none."""
    return said if said in SKIP_REASONS else ""


def skip_turn(turn: Turn, *, reason: str = "") -> None:
    """Leave the turn out of the transcript; it still counts as worked time."""
    why = known_reason(reason)
    skippable = Turn.objects.filter(pk=turn.pk, state__in=OPEN_TURN)
    updated = skippable.update(state=Turn.State.SKIPPED, skip_reason=why, is_stop_requested=True)
    if updated != 1:
        turn.refresh_from_db(fields=["state"])
        if turn.state != Turn.State.SKIPPED:
            raise WentOn(_("This turn was chosen already."))
        if why:
            Turn.objects.filter(pk=turn.pk).update(skip_reason=why)


def unskip_turn(turn: Turn) -> None:
    """Take a skip back while nothing was said after it."""
    with transaction.atomic():
        conversation = lock_conversation(turn.conversation)
        if conversation.state != Conversation.State.OPEN:
            raise WentOn(_("This conversation has ended."))
        if conversation.turns.filter(index__gt=turn.index).exists():
            raise WentOn(_("The conversation went on after this turn."))
        states = set(_standing_showing_states(turn))
        if Response.State.PENDING in states:
            assert conversation.crowdworker is not None
            check_writes_nowhere_else(conversation, conversation.crowdworker)
            state = Turn.State.GENERATING
        else:
            state = Turn.State.FAILED if Response.State.FAILED in states else Turn.State.READY
        skipped = Turn.objects.filter(pk=turn.pk, state=Turn.State.SKIPPED)
        if not skipped.update(
            state=state, skip_reason="", is_stop_requested=False, lease_until=None
        ):
            raise WentOn(_("This turn is not skipped any more."))
        if state == Turn.State.GENERATING:
            ring(turn)


def _standing_showing_states(turn: Turn) -> tuple[str, str]:
    showing = author_showing(turn)
    return showing.side_a.state, showing.side_b.state


def author_showing(turn: Turn) -> Showing:
    """The two responses as the writer of the message sees them now."""
    return turn.showings.select_related("side_a", "side_b").get(
        purpose=Showing.Purpose.AUTHOR, replaced_at__isnull=True
    )


def regenerate(turn: Turn, *, look: Look | None = None) -> Turn:
    """Two new responses in place of these; the old ones stay in the record."""
    with transaction.atomic():
        conversation = lock_conversation(turn.conversation)
        campaign, crowdworker = conversation.campaign, conversation.crowdworker
        assert campaign is not None
        assert crowdworker is not None
        if not campaign.allows_regenerate:
            raise ChatRefused(_("New responses cannot be asked for in this campaign."))
        check_may_say(conversation, crowdworker)
        draw = draw_pair(campaign)
        _reopen(turn, draw)
        turn.showings.filter(purpose=Showing.Purpose.AUTHOR, replaced_at__isnull=True).update(
            replaced_at=timezone.now()
        )
        turn.conversation = conversation
        add_responses(turn, draw=draw, crowdworker=crowdworker, look=look or Look())
        ring(turn)
    turn.refresh_from_db()
    return turn


def _reopen(turn: Turn, draw: Draw) -> None:
    complete = Turn.objects.filter(
        pk=turn.pk,
        state__in=(Turn.State.READY, Turn.State.FAILED),
        regenerations__lt=MOST_REGENERATIONS,
    )
    updated = complete.update(
        state=Turn.State.GENERATING,
        regenerations=F("regenerations") + 1,
        is_stop_requested=False,
        lease_until=None,
        is_held_back=draw.is_held_back,
        slot_generation=draw.slot_generation,
        pairing_rule=draw.pair.rule,
        pair_probability=draw.pair.probability,
    )
    if updated != 1:
        raise WentOn(_("New responses can be asked for once both are complete, up to five times."))


def retry_side(turn: Turn, side: str) -> None:
    """Write a failed side again; the other one is kept."""
    with transaction.atomic():
        conversation = lock_conversation(turn.conversation)
        assert conversation.crowdworker is not None
        check_goes_on(conversation, conversation.crowdworker)
        held = Turn.objects.select_for_update().get(pk=turn.pk)
        if held.state not in {Turn.State.FAILED, Turn.State.GENERATING}:
            raise WentOn(_("This turn went on elsewhere."))
        showing = author_showing(turn)
        response = showing.side_a if side == "A" else showing.side_b
        failed = Response.objects.filter(
            pk=response.pk, state=Response.State.FAILED, tries__lt=MOST_TRIES
        )
        if failed.update(state=Response.State.PENDING, failure="", tries=F("tries") + 1) != 1:
            raise WentOn(_("It still cannot be written. Skip this turn: it counts as worked time."))
        waiting = Turn.objects.filter(pk=turn.pk, state=Turn.State.FAILED)
        waiting.update(state=Turn.State.GENERATING, lease_until=None, is_stop_requested=False)
        ring(turn)
