"""The steps an assignment may take, from preview to paid; each is audited in its own transaction.

Knows states and who moved them; knows nothing of why a step is due.
"""

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from comparisons.models import Account, Assignment
from comparisons.services import audit

State = Assignment.State
NEXT_STATES: dict[str, tuple[str, ...]] = {
    State.PREVIEW: (State.CONSENT, State.TRAINING, State.WORK, State.RETURNED),
    State.CONSENT: (State.TRAINING, State.WORK, State.RETURNED),
    State.TRAINING: (State.WORK, State.RETURNED),
    State.WORK: (State.SUBMITTED, State.RETURNED),
    State.SUBMITTED: (State.ACCEPTED, State.RETURNED),
    State.ACCEPTED: (State.PAID,),
    State.PAID: (),
    State.RETURNED: (),  # for good, unless a rejection is overturned
}
STAMPS = {
    State.SUBMITTED: "submitted_at",
    State.ACCEPTED: "accepted_at",
    State.PAID: "paid_at",
}


def move(
    assignment: Assignment,
    *,
    to: str,
    actor: Account | None = None,
    reason: str = "",
    only_if: Q | None = None,
) -> bool:
    """Take one legal step. False, and nothing changed, where it is not legal or another was first."""
    target, condition = State(to), only_if or Q()
    with transaction.atomic():
        before = Assignment.objects.values_list("state", flat=True).get(pk=assignment.pk)
        if target not in NEXT_STATES[before]:
            return False
        return _step(
            assignment, before=before, target=target, actor=actor, reason=reason, only_if=condition
        )


def overturn_rejection(assignment: Assignment, *, reason: str) -> bool:
    """Accept what was handed in and then rejected. False, and nothing changed, where that is not how it stands."""
    return _step(
        assignment,
        before=State.RETURNED,
        target=State.ACCEPTED,
        actor=None,
        reason=reason,
        only_if=Q(submitted_at__isnull=False),
    )


def _step(
    assignment: Assignment,
    *,
    before: str,
    target: State,
    actor: Account | None,
    reason: str,
    only_if: Q,
) -> bool:
    """Change the state and write it down; False where it stands otherwise by now."""
    stamp = {STAMPS[target]: timezone.now()} if target in STAMPS else {}
    row = Assignment.objects.filter(only_if, pk=assignment.pk, state=before)
    with transaction.atomic():
        if row.update(state=target, **stamp) != 1:
            return False
        audit.record(
            actor=actor,
            action=f"assignment.{target.value}",
            object_type="assignment",
            object_id=assignment.public_id,
            detail={"before": before, **({"reason": reason} if reason else {})},
        )
    assignment.refresh_from_db(fields=["state", *stamp])
    return True


def record_opening(assignment: Assignment, *, actor: Account | None) -> None:
    """Write down where an assignment began; call it in the transaction that makes the row."""
    audit.record(
        actor=actor,
        action="assignment.open",
        object_type="assignment",
        object_id=assignment.public_id,
        detail={"state": assignment.state, "campaign": assignment.campaign.slug},
    )
