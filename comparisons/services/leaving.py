"""The way out of red-team work: no more of it from now on, and what was chosen is handed in.

Knows assignments and conversations; knows nothing of where the person goes next.
"""

from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone

from comparisons.models import Assignment, Conversation, Crowdworker, Turn
from comparisons.models.campaign import Objective
from comparisons.services import assignment_ends, wellbeing
from comparisons.services.chat import OPEN_TURN


def leave_red_team(crowdworker: Crowdworker) -> bool:
    """Leave at once; False where work was open and no choice was made in it, so that nothing is paid."""
    with transaction.atomic():
        # The person's row first, as everything that happens in a conversation holds it.
        Crowdworker.objects.select_for_update().get(pk=crowdworker.pk)
        wellbeing.leave(crowdworker)
        open_work = crowdworker.assignments.filter(
            campaign__objective=Objective.HARMLESS, state__in=Assignment.OPEN_STATES
        )
        left = list(open_work)
        _finish_begun(Conversation.objects.filter(assignment__in=left))
        for assignment in left:
            assignment_ends.give_back(assignment, reason="left red-team work")
        return not left or any(each.state == Assignment.State.SUBMITTED for each in left)


def _finish_begun(conversations: QuerySet[Conversation]) -> None:
    """An open conversation in which something was chosen counts, as if the person had ended it."""
    chosen = Turn.objects.filter(conversation=OuterRef("pk"), continued_by__isnull=False)
    begun = list(conversations.filter(Exists(chosen), state=Conversation.State.OPEN))
    Turn.objects.filter(conversation__in=begun, state__in=OPEN_TURN).update(
        state=Turn.State.SKIPPED, is_stop_requested=True
    )
    Conversation.objects.filter(pk__in=[each.pk for each in begun]).update(
        state=Conversation.State.FINISHED, finished_at=timezone.now()
    )
