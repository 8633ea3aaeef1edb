"""Who may fill a turn: leases by conditional update, and writes that only the present attempt can do.

Knows turns and responses; knows neither how text is made nor who reads it. Times are the database's.
"""

import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from typing import Any

from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Now

from comparisons.models import Response, Showing, Turn
from modelserving.core.completion import Completion, storable

LEASE = timedelta(seconds=20)
BEGINS_WITHIN = timedelta(seconds=5)  # a bell that was not heard by then is rung again
MOST_ATTEMPTS = 5  # per pair of responses that was asked for
FAILURE_LENGTH = 200


@dataclass(frozen=True, kw_only=True)
class Lease:
    """One attempt at a turn. `responses` maps side letters to primary keys."""

    turn_id: int
    public_id: uuid.UUID
    attempt: int
    is_worn_out: bool  # too many attempts: nothing is generated any more
    is_held_back: bool
    responses: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What the database says about a turn that is being filled."""

    attempt: int
    state: str
    is_stop_requested: bool


def claim(turn_id: int) -> Lease | None:
    """Take the turn for one attempt. None when somebody has it, or nothing is left to do."""
    with transaction.atomic():
        free = Turn.objects.filter(Q(lease_until__isnull=True) | Q(lease_until__lt=Now()))
        waiting = free.filter(pk=turn_id, state=Turn.State.GENERATING)
        if waiting.update(attempt=F("attempt") + 1, lease_until=Now() + LEASE) != 1:
            return None
        turn = Turn.objects.get(pk=turn_id)
        showing = turn.showings.filter(
            purpose=Showing.Purpose.AUTHOR, replaced_at__isnull=True
        ).first()
        if showing is None:  # nobody looks at this turn
            return None
        responses = {"A": showing.side_a_id, "B": showing.side_b_id}
        tries = Response.objects.filter(pk__in=responses.values()).values_list("tries", flat=True)
        allowed = MOST_ATTEMPTS * (1 + turn.regenerations + sum(tries))
        return Lease(
            turn_id=turn.pk,
            public_id=turn.public_id,
            attempt=turn.attempt,
            is_worn_out=turn.attempt > allowed,
            is_held_back=turn.is_held_back,
            responses=responses,
        )


def renew(leases: Collection[Lease]) -> None:
    """Push the end of these leases further away, where they still are the present attempt."""
    for lease in leases:
        _mine(lease).update(lease_until=Now() + LEASE)


def looked_at(leases: Collection[Lease]) -> dict[int, Kept]:
    """The turns of these leases as they stand, by primary key."""
    rows = Turn.objects.filter(pk__in=[lease.turn_id for lease in leases])
    return {
        pk: Kept(attempt=attempt, state=state, is_stop_requested=is_stop_requested)
        for pk, attempt, state, is_stop_requested in rows.values_list(
            "pk", "attempt", "state", "is_stop_requested"
        )
    }


def release(lease: Lease) -> None:
    """Give the turn back unfinished, so that the next attempt need not wait for the lease's end."""
    Turn.objects.filter(pk=lease.turn_id, attempt=lease.attempt).update(lease_until=None)


def store(lease: Lease, *, side: str, completion: Completion) -> str | None:
    """Keep a whole reply. Returns the turn's state after it; None when it came too late to count."""
    text = storable(completion.text)
    return _conclude(
        lease,
        side=side,
        state=Response.State.READY,
        text=text,
        text_sha256=sha256(text.encode("utf-8")).hexdigest(),
        finish_reason=completion.finish_reason,
        attempt=lease.attempt,
        seed=completion.seed,
        sampling=dict(completion.sampling),
        prompt_sha256=completion.prompt_sha256,
        token_ids=list(completion.token_ids),
        pm_score=completion.score,
        candidates=[dict(each) for each in completion.candidates],
        first_token_milliseconds=completion.first_token_milliseconds,
        total_milliseconds=completion.total_milliseconds,
        completed_at=Now(),
    )


def fail(lease: Lease, *, side: str, reason: str) -> str | None:
    """Keep that a reply could not be written. Returns the turn's state after it, or None."""
    return _conclude(
        lease,
        side=side,
        state=Response.State.FAILED,
        failure=storable(reason)[:FAILURE_LENGTH],
        attempt=lease.attempt,
        completed_at=Now(),
    )


def forsaken_turns() -> QuerySet[Turn]:
    """Turns that nobody fills: the lease ran out, or the bell was never heard."""
    never_begun = Q(lease_until__isnull=True, created_at__lt=Now() - BEGINS_WITHIN)
    return Turn.objects.filter(Q(lease_until__lt=Now()) | never_begun, state=Turn.State.GENERATING)


def _mine(lease: Lease) -> QuerySet[Turn]:
    return Turn.objects.filter(pk=lease.turn_id, attempt=lease.attempt, state=Turn.State.GENERATING)


def _conclude(lease: Lease, *, side: str, state: str, **fields: Any) -> str | None:
    """Write one side, and with the last side the turn: all of it by the present attempt, or nothing."""
    with transaction.atomic():
        if not _mine(lease).select_for_update().values_list("pk", flat=True):
            return None
        pending = Response.objects.filter(pk=lease.responses[side], state=Response.State.PENDING)
        if pending.update(state=state, **fields) != 1:
            return None
        states = set(
            Response.objects.filter(pk__in=lease.responses.values()).values_list("state", flat=True)
        )
        if Response.State.PENDING in states:
            return Turn.State.GENERATING
        is_ready = states == {Response.State.READY}
        after = Turn.State.READY if is_ready else Turn.State.FAILED
        _mine(lease).update(state=after, lease_until=None)
        return after
