"""How an assignment ends: handed in, or given back.

Knows assignments and which of their conversations are finished; knows nothing of how one is taken on.
"""

from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now

from comparisons.models import Assignment, Conversation, Crowdworker
from comparisons.services.assignment_states import move


def submit_when_finished(assignment: Assignment) -> bool:
    """Submit the assignment once every conversation is finished."""
    finished = assignment.conversations.filter(state=Conversation.State.FINISHED).count()
    return finished >= assignment.conversations_required and submit_assignment(assignment)


def submit_assignment(assignment: Assignment) -> bool:
    """Hand the work in. False when it was handed in before."""
    return move(assignment, to=Assignment.State.SUBMITTED, actor=assignment.crowdworker.account)


def give_back(assignment: Assignment, *, only_overdue: bool = False, reason: str = "") -> bool:
    """End an assignment early: what is done is handed in, an open conversation is given back.

    False, and nothing changed, where it was over already, or, when asked, its lease goes on.
    """
    with transaction.atomic():
        # The order of everything that happens in a conversation: the person's row comes first.
        locked = Crowdworker.objects.select_for_update().get(pk=assignment.crowdworker_id)
        actor = None if only_overdue else locked.account
        finished = assignment.conversations.filter(state=Conversation.State.FINISHED)
        is_pay_due = finished.exists() or _has_paid_time(assignment)
        after = Assignment.State.SUBMITTED if is_pay_due else Assignment.State.RETURNED
        still_open = Q(state__in=Assignment.OPEN_STATES)
        if only_overdue:
            still_open &= Q(lease_until__lt=Now())
        if not move(assignment, to=after, actor=actor, reason=reason, only_if=still_open):
            return False
        open_ones = assignment.conversations.filter(state=Conversation.State.OPEN)
        open_ones.update(state=Conversation.State.ABANDONED)
        return True


def _has_paid_time(assignment: Assignment) -> bool:
    """Work by the hour is paid by its time, also where every turn was skipped or the last conversation is open."""
    if assignment.pay_rule.get("per") != "hour":
        return False
    begun = Assignment.objects.filter(pk=assignment.pk, state=Assignment.State.WORK)
    return begun.filter(active_milliseconds__gt=0).exists()


def give_back_overdue() -> int:
    """Give back every assignment whose lease ran out; the number of them."""
    overdue = Assignment.objects.filter(state__in=Assignment.OPEN_STATES, lease_until__lt=Now())
    return sum(give_back(each, only_overdue=True, reason="lease over") for each in overdue)
