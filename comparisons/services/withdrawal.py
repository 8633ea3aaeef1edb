"""Withdraw a person's texts: blanked in place, rows, hashes and links kept, releases marked stale.

Knows what belongs to one person; the files of published releases are not touched.
"""

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from comparisons.models import (
    Comparison,
    Conversation,
    Crowdworker,
    DatasetRelease,
    Flag,
    Response,
    Showing,
    Turn,
    WantedReply,
)
from comparisons.services import audit, streaming


def withdraw(crowdworker: Crowdworker) -> None:
    """Blank what the person wrote and what was written to them; leave future releases without it."""
    now = timezone.now()
    with transaction.atomic():
        Crowdworker.objects.select_for_update().get(pk=crowdworker.pk)  # as `say` does: one waits
        _blank_texts(crowdworker)
        mine = Q(crowdworker=crowdworker) | Q(turn__conversation__crowdworker=crowdworker)
        written = Q(picked__author=crowdworker) | Q(other__author=crowdworker)
        concerned = Comparison.objects.filter(mine | written)
        DatasetRelease.objects.filter(
            members__comparison__in=concerned, stale_at__isnull=True
        ).update(stale_at=now)
        concerned.filter(crowdworker=crowdworker).update(reason_text="")
        concerned.filter(set_aside_at__isnull=True).update(
            set_aside_at=now, set_aside_reason="withdrawn"
        )
        Crowdworker.objects.filter(pk=crowdworker.pk).update(
            standing=Crowdworker.Standing.WITHDRAWN, withdrawn_at=now, external_id_hash=""
        )
        _forget_streams(crowdworker)
        audit.record(
            actor=crowdworker.account,
            action="crowdworker.withdraw",
            object_type="crowdworker",
            object_id=crowdworker.public_id,
        )


def _forget_streams(crowdworker: Crowdworker) -> None:
    """Once the rows are blank, what is still under way in memory goes too."""
    turns = Turn.objects.filter(conversation__crowdworker=crowdworker)
    public_ids = list(turns.values_list("public_id", flat=True))
    transaction.on_commit(lambda: streaming.forget(public_ids), robust=True)


def _blank_texts(crowdworker: Crowdworker) -> None:
    conversations = Conversation.objects.filter(crowdworker=crowdworker)
    turns = Turn.objects.filter(conversation__crowdworker=crowdworker)
    turns.filter(state=Turn.State.GENERATING).update(
        state=Turn.State.SKIPPED, is_stop_requested=True
    )
    turns.update(message="")
    Response.objects.filter(Q(turn__in=turns) | Q(author=crowdworker)).update(
        text="", candidates=[], token_ids=[]
    )
    blank = Showing.objects.filter(Q(side_a__author=crowdworker) | Q(side_b__author=crowdworker))
    blank.filter(purpose=Showing.Purpose.SECOND_OPINION, replaced_at__isnull=True).update(
        replaced_at=timezone.now()
    )
    WantedReply.objects.filter(crowdworker=crowdworker, response__isnull=True).update(
        crowdworker=None, lease_until=None
    )
    Flag.objects.filter(crowdworker=crowdworker).update(note="")
    conversations.filter(state=Conversation.State.OPEN).update(state=Conversation.State.ABANDONED)
    conversations.update(is_withdrawn=True, intent="", comment="", opening=[])
