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
    State.RETURNED: (),
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
    target = State(to)
    with transaction.atomic():
        row = Assignment.objects.filter(pk=assignment.pk)
        before = row.values_list("state", flat=True).get()
        if target not in NEXT_STATES[before]:
            return False
        stamp = {STAMPS[target]: timezone.now()} if target in STAMPS else {}
        if row.filter(only_if or Q(), state=before).update(state=target, **stamp) != 1:
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
