"""What staff do about a person or a flag: note, set aside, suspend, and undo each of them; audited.

Knows people, their choices and flags; finds nothing by itself (queries.quality does).
"""

from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Coalesce
from django.utils.timezone import now

from comparisons.models import Account, Comparison, Crowdworker, Flag, Invitation
from comparisons.services import audit
from comparisons.services.stale_releases import mark_releases_stale

Standing = Crowdworker.Standing
SetAside = Comparison.SetAside


class ReasonNeeded(ValueError):
    """Leaving somebody's work out, or shutting them out, is never done without a reason."""


class StandingRefused(ValueError):
    """The person's standing cannot become this; the message says why."""


def note_no_problem(crowdworker: Crowdworker, *, reason: str, actor: Account) -> None:
    """Write down that a signal was looked at and is no problem."""
    _record(crowdworker, actor=actor, action="no_problem", detail={"reason": reason})


def note_asked(crowdworker: Crowdworker, *, reason: str, actor: Account) -> None:
    """Write down that the person was asked about a signal."""
    _record(crowdworker, actor=actor, action="asked", detail={"reason": reason})


def set_aside(crowdworker: Crowdworker, *, reason: str, actor: Account) -> int:
    """Leave all standing choices of a person out of later releases; returns how many."""
    reason = _needed(reason)
    with transaction.atomic():
        standing = Comparison.objects.filter(
            crowdworker=crowdworker, set_aside_at__isnull=True, superseded_at__isnull=True
        )
        count = standing.update(
            set_aside_at=now(), set_aside_cause=SetAside.PERSON, set_aside_reason=reason[:200]
        )
        _record(
            crowdworker, actor=actor, action="set_aside", detail={"reason": reason, "count": count}
        )
    return count


def set_aside_with(crowdworker: Crowdworker) -> QuerySet[Comparison]:
    """What was set aside with the person, and may count again."""
    return Comparison.objects.filter(crowdworker=crowdworker, set_aside_cause=SetAside.PERSON)


def take_back(crowdworker: Crowdworker, *, actor: Account) -> int:
    """Undo setting a person's work aside; what a flag or a withdrawal left out stays out."""
    with transaction.atomic():
        count = set_aside_with(crowdworker).update(
            set_aside_at=None, set_aside_cause="", set_aside_reason=""
        )
        _record(crowdworker, actor=actor, action="take_back", detail={"count": count})
    return count


def set_standing(crowdworker: Crowdworker, *, standing: str, reason: str, actor: Account) -> None:
    """Suspend a person or let them work again; the person reads the reason."""
    after = Standing(standing)
    if Standing.WITHDRAWN in {after, crowdworker.standing}:
        raise StandingRefused("only the person withdraws, and a withdrawal stands")
    if after == Standing.SUSPENDED:
        reason = _needed(reason)
    with transaction.atomic():
        rows = Crowdworker.objects.filter(pk=crowdworker.pk, standing=crowdworker.standing)
        if rows.update(standing=after, standing_reason=reason) != 1:
            raise StandingRefused("somebody changed this person's standing just now: look again")
        _record(crowdworker, actor=actor, action=after.value, detail={"reason": reason})
    crowdworker.refresh_from_db()


def resolve_flag(flag: Flag, *, actor: Account) -> bool:
    """Say that a flag was looked at and its turn may stay. False when somebody was quicker."""
    with transaction.atomic():
        rows = Flag.objects.filter(pk=flag.pk, resolved_at__isnull=True)
        if rows.update(resolved_at=now()) != 1:
            return False
        audit.record(
            actor=actor, action="flag.resolve", object_type="flag", object_id=flag.pk,
            detail={"kind": flag.kind},
        )  # fmt: skip
    return True


def set_aside_flagged(flag: Flag, *, reason: str, actor: Account) -> int:
    """Leave the flagged turn, and all that quote it, out of releases; the flag is then done."""
    reason = _needed(reason)
    with transaction.atomic():
        touched = Comparison.objects.filter(
            turn__conversation=flag.turn.conversation, turn__index__gte=flag.turn.index
        ).exclude(set_aside_cause__in=(SetAside.FLAG, SetAside.WITHDRAWN))  # fmt: skip
        mark_releases_stale(touched)
        count = touched.update(
            set_aside_at=now(), set_aside_cause=SetAside.FLAG, set_aside_reason=reason[:200]
        )
        Flag.objects.filter(pk=flag.pk).update(
            resolved_at=Coalesce("resolved_at", now()), is_heeded=True
        )
        audit.record(
            actor=actor, action="flag.set_aside", object_type="flag", object_id=flag.pk,
            detail={"kind": flag.kind, "count": count, "reason": reason},
        )  # fmt: skip
    return count


def take_back_invitation(invitation: Invitation, *, actor: Account) -> bool:
    """Make an invitation's code useless from now on. False when it was already used up."""
    with transaction.atomic():
        if Invitation.objects.filter(pk=invitation.pk, uses_left__gt=0).update(uses_left=0) != 1:
            return False
        audit.record(
            actor=actor, action="invitation.revoke", object_type="invitation",
            object_id=invitation.pk, detail={"label": invitation.label},
        )  # fmt: skip
    return True


def _needed(reason: str) -> str:
    if not reason.strip():
        raise ReasonNeeded("Say why: the reason is kept, and a suspended person reads it.")
    return reason.strip()


def _record(
    crowdworker: Crowdworker, *, actor: Account, action: str, detail: dict[str, Any]
) -> None:
    audit.record(
        actor=actor, action=f"crowdworker.{action}", object_type="crowdworker",
        object_id=crowdworker.public_id, detail=detail,
    )  # fmt: skip
