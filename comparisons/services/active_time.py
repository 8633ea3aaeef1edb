"""The time that people work, added up as they go on; going on keeps what they took.

Knows conversations and assignments; what an hour pays is the queries' business.
"""

from datetime import timedelta

from django.db.models import F, Q
from django.db.models.functions import Coalesce, Now

from comparisons.models import Assignment, Conversation

MOST_ACTIVE_MILLISECONDS = 30 * 60 * 1000  # one step; longer means the person was away


def at_most(milliseconds: int | None) -> int | None:
    """What a page says of one step, or nothing; no step is longer than this."""
    return None if milliseconds is None else min(milliseconds, MOST_ACTIVE_MILLISECONDS)


def count_active(conversation: Conversation, milliseconds: int) -> None:
    """Add active time to the conversation and its assignment, and keep the lease going.

    The page says how long, some of it a step late; the database's clock says how long at most. Call it with the
    person's row held.
    """
    campaign, assignment_id = conversation.campaign, conversation.assignment_id
    if campaign is None or assignment_id is None:
        return
    left = _left_milliseconds(assignment_id, crowdworker_id=conversation.crowdworker_id)
    spent = max(min(milliseconds, MOST_ACTIVE_MILLISECONDS, left), 0)
    more = {"active_milliseconds": F("active_milliseconds") + spent}
    Conversation.objects.filter(pk=conversation.pk).update(**more)
    until = Now() + timedelta(minutes=campaign.lease_minutes)
    Assignment.objects.filter(pk=assignment_id).update(**more, lease_until=until)


def _left_milliseconds(assignment_id: int, *, crowdworker_id: int | None) -> int:
    """How much may be counted yet: no more than passed since it began, here and over all work of that time together.

    Two tabs show two pages at once, but an hour of a person is one hour.
    """
    begun = Coalesce("counted_since", "created_at")
    own = Assignment.objects.filter(pk=assignment_id).values_list(begun)
    together = Q(state__in=Assignment.OPEN_STATES) | Q(submitted_at__gt=own) | Q(pk=assignment_id)
    rows = Assignment.objects.filter(together, crowdworker=crowdworker_id)
    found: dict[int, tuple[timedelta, timedelta]] = {
        key: (now - since, timedelta(milliseconds=counted))
        for key, now, since, counted in rows.values_list("pk", Now(), begun, "active_milliseconds")
    }
    passed, counted = found[assignment_id]
    longest = max(each for each, _ in found.values())
    all_counted = sum((each for _, each in found.values()), timedelta())
    return min(passed - counted, longest - all_counted) // timedelta(milliseconds=1)
