"""Withdraw a person's texts: blanked in place, rows, hashes and links kept, releases marked stale.

Knows what belongs to one person; the files of published releases are not touched.
"""

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from comparisons.models import (
    Assignment,
    Comparison,
    Conversation,
    Crowdworker,
    Flag,
    Response,
    Showing,
    Turn,
    WantedReply,
)
from comparisons.services import assignment_ends, audit, opinions, streaming
from comparisons.services.stale_releases import mark_releases_stale

NO_TEXT = {"text": "", "candidates": [], "token_ids": [], "failure": ""}  # a failure may quote


def withdraw(crowdworker: Crowdworker) -> None:
    """Blank what the person wrote and what was written to them; leave future releases without it."""
    now = timezone.now()
    with transaction.atomic():
        # As `say` does: one waits.
        person = Crowdworker.objects.select_for_update().get(pk=crowdworker.pk)
        _blank_texts(crowdworker)
        _give_up_replies(crowdworker)
        mine = Q(crowdworker=crowdworker) | Q(turn__conversation__crowdworker=crowdworker)
        written = Q(picked__author=crowdworker) | Q(other__author=crowdworker)
        concerned = Comparison.objects.filter(mine | written)
        concerned.update(reason_text="")  # what others wrote of it may name the person
        _leave_releases(concerned)
        Crowdworker.objects.filter(pk=crowdworker.pk).update(
            standing=Crowdworker.Standing.WITHDRAWN,
            withdrawn_at=now,
            external_id_hash=_kept_id(person),
        )
        _forget_streams(Turn.objects.filter(conversation__crowdworker=crowdworker))
        # Last: from the first entry on, everything else that the audit keeps waits for the end of this.
        for assignment in crowdworker.assignments.filter(state__in=Assignment.OPEN_STATES):
            assignment_ends.give_back(assignment, reason="withdrawn")
        audit.record(
            actor=crowdworker.account,
            action="crowdworker.withdraw",
            object_type="crowdworker",
            object_id=crowdworker.public_id,
        )


def _kept_id(person: Crowdworker) -> str:
    """Nothing that leads back to the person, unless they would come back from a platform past a suspension."""
    is_shut_out = person.standing == Crowdworker.Standing.SUSPENDED
    return person.external_id_hash if is_shut_out else ""


def delete_conversation(conversation: Conversation) -> None:
    """Blank one ended conversation in place; the person goes on working, and it stays paid."""
    crowdworker = conversation.crowdworker
    assert crowdworker is not None, "imported conversations are nobody's to delete"
    with transaction.atomic():
        Crowdworker.objects.select_for_update().get(pk=crowdworker.pk)
        own = Conversation.objects.filter(pk=conversation.pk)
        own = own.exclude(state=Conversation.State.OPEN)
        if own.update(is_withdrawn=True, intent="", comment="", opening=[]) != 1:
            return
        turns = Turn.objects.filter(conversation=conversation)
        _blank_turns(turns)
        concerned = Comparison.objects.filter(turn__in=turns)
        concerned.update(reason_text="")
        _leave_releases(concerned)
        _forget_streams(turns)
        audit.record(
            actor=crowdworker.account,
            action="conversation.delete",
            object_type="conversation",
            object_id=conversation.public_id,
        )


def _leave_releases(concerned: QuerySet[Comparison]) -> None:
    """Keep the comparisons out of later releases; those that hold them are marked."""
    mark_releases_stale(concerned)
    cause = Comparison.SetAside.WITHDRAWN
    concerned.exclude(set_aside_cause=cause).update(
        set_aside_at=timezone.now(), set_aside_cause=cause, set_aside_reason="withdrawn"
    )


def _forget_streams(turns: QuerySet[Turn]) -> None:
    """Once the rows are blank, what is still under way in memory goes too."""
    public_ids = list(turns.values_list("public_id", flat=True))
    transaction.on_commit(lambda: streaming.forget(public_ids), robust=True)


def _blank_turns(turns: QuerySet[Turn]) -> None:
    """What was said, what was answered or still being written, and what anybody noted about it."""
    turns.filter(state=Turn.State.GENERATING).update(
        state=Turn.State.SKIPPED, is_stop_requested=True
    )
    turns.update(message="")
    Flag.objects.filter(turn__in=turns).update(note="")
    Response.objects.filter(turn__in=turns).update(**NO_TEXT)
    _take_out_of_hands(turns)


def _take_out_of_hands(turns: QuerySet[Turn]) -> None:
    """Second opinions that wait or that others read just now: what they would pick from is gone."""
    Showing.objects.filter(
        ~opinions.IS_JUDGED,
        turn__in=turns,
        purpose=Showing.Purpose.SECOND_OPINION,
        replaced_at__isnull=True,
        judged_at__isnull=True,
    ).update(replaced_at=timezone.now())


def _give_up_replies(crowdworker: Crowdworker) -> None:
    """The person's written replies, those that wait to be compared, and a prompt in hand."""
    Response.objects.filter(author=crowdworker).update(**NO_TEXT)
    blank = Showing.objects.filter(Q(side_a__author=crowdworker) | Q(side_b__author=crowdworker))
    blank.filter(purpose=Showing.Purpose.SECOND_OPINION, replaced_at__isnull=True).update(
        replaced_at=timezone.now()
    )
    WantedReply.objects.filter(crowdworker=crowdworker, response__isnull=True).update(
        crowdworker=None, lease_until=None
    )


def _blank_texts(crowdworker: Crowdworker) -> None:
    conversations = Conversation.objects.filter(crowdworker=crowdworker)
    turns = Turn.objects.filter(conversation__crowdworker=crowdworker)
    _blank_turns(turns)
    Flag.objects.filter(crowdworker=crowdworker).update(note="")
    conversations.filter(state=Conversation.State.OPEN).update(state=Conversation.State.ABANDONED)
    conversations.update(is_withdrawn=True, intent="", comment="", opening=[])
