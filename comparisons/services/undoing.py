"""Take a choice back within the campaign's window: the writer's own, or a second opinion.

Knows turns, showings and comparisons; recording a choice is `judging`'s.
"""

from django.db import transaction
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.translation import gettext as _

from comparisons.models import (
    Campaign,
    ChoiceUndo,
    Comparison,
    Conversation,
    Crowdworker,
    Piece,
    Showing,
    Turn,
)
from comparisons.services import opinions
from comparisons.services.chat import lock_conversation
from comparisons.services.judging import UndoOver


def undo_choice(comparison: Comparison) -> Turn:
    """Take a writer's choice back, while no later turn hangs on it."""
    turn = comparison.turn
    crowdworker, _campaign = _still_undoable(comparison)
    with transaction.atomic():
        conversation = lock_conversation(turn.conversation)
        if conversation.state != Conversation.State.OPEN:
            raise UndoOver(_("The conversation has ended."))
        if conversation.turns.filter(index__gt=turn.index).exists():
            raise UndoOver(_("The conversation went on from this choice."))
        chosen = Turn.objects.filter(pk=turn.pk, continued_by=comparison, state=Turn.State.CHOSEN)
        if chosen.update(state=Turn.State.READY, continued_by=None) != 1:
            raise UndoOver(_("This choice was taken back before."))
        _supersede(comparison, crowdworker)
        opinions.take_back(turn)
        if comparison.picked.author_id is not None:
            _show_pair_again(comparison)
    turn.refresh_from_db()
    return turn


def undo_opinion(comparison: Comparison) -> None:
    """Take a second opinion back: its item is the person's again, before what they hold besides."""
    crowdworker, campaign = _still_undoable(comparison)
    with transaction.atomic():
        _refuse_handed_in(comparison, campaign)
        # as a withdrawal does: nothing is given back to one who withdrew meanwhile
        person = Crowdworker.objects.select_for_update(no_key=True).get(pk=crowdworker.pk)
        showing = Showing.objects.select_for_update(no_key=True).get(pk=comparison.showing_id)
        is_gone = showing.turn.conversation.is_withdrawn or showing.replaced_at is not None
        if is_gone or person.standing != Crowdworker.Standing.ACTIVE:
            raise UndoOver(_("This choice cannot be taken back."))
        _supersede(comparison, crowdworker)
        Showing.objects.filter(pk=showing.pk).update(
            judged_at=None, lease_until=Now() + opinions.LEASE
        )


def _still_undoable(comparison: Comparison) -> tuple[Crowdworker, Campaign]:
    """Whose choice it is, and in which campaign; refuses where the window is over."""
    campaign = comparison.turn.conversation.campaign
    if comparison.crowdworker is None or campaign is None:
        raise UndoOver(_("This choice cannot be taken back."))
    if comparison.created_at < campaign.undoable_since():
        raise UndoOver(_("The time to take this choice back is over."))
    return comparison.crowdworker, campaign


def _refuse_handed_in(comparison: Comparison, campaign: Campaign) -> None:
    """Chosen anew it would be paid once more. Holds the campaign's row, as handing in does."""
    Campaign.objects.select_for_update(no_key=True).get(pk=campaign.pk)
    if Piece.objects.filter(comparison=comparison).exists():
        raise UndoOver(_("This choice was handed in for pay: it stands."))


def _supersede(comparison: Comparison, crowdworker: Crowdworker) -> None:
    standing = Comparison.objects.filter(pk=comparison.pk, superseded_at__isnull=True)
    if standing.update(superseded_at=timezone.now()) != 1:
        raise UndoOver(_("This choice was taken back before."))
    ChoiceUndo.objects.create(comparison=comparison, crowdworker=crowdworker)


def _show_pair_again(comparison: Comparison) -> None:
    """After the undo of a response of one's own: the two that were shown before stand again."""
    Showing.objects.filter(pk=comparison.showing_id).update(replaced_at=timezone.now())
    before = (
        Showing.objects.filter(
            turn=comparison.turn_id,
            purpose=Showing.Purpose.AUTHOR,
            pk__lt=comparison.showing_id,
        )
        .order_by("-pk")
        .values_list("pk", flat=True)[:1]
    )
    Showing.objects.filter(pk__in=list(before)).update(replaced_at=None)
