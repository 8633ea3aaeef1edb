"""The time that people work, added up as they go on; going on keeps what they took.

Knows conversations and assignments; what an hour pays is the queries' business.
"""

from datetime import timedelta

from django.db.models import F
from django.db.models.functions import Now

from comparisons.models import Assignment, Conversation

MOST_ACTIVE_MILLISECONDS = 30 * 60 * 1000  # one step; longer means the person was away


def count_active(conversation: Conversation, milliseconds: int) -> None:
    """Add active time to the conversation and its assignment, and keep the lease going.

    The page says how long, some of it a step late; the database's clock says how long at most, over all steps
    together. Call it with the person's row held.
    """
    campaign, assignment_id = conversation.campaign, conversation.assignment_id
    if campaign is None or assignment_id is None:
        return
    row = Assignment.objects.filter(pk=assignment_id)
    now, since, created_at, counted = (
        row.annotate(now=Now())
        .values_list("now", "counted_since", "created_at", "active_milliseconds")
        .get()
    )
    left = (now - (since or created_at)) // timedelta(milliseconds=1) - counted
    spent = max(min(milliseconds, MOST_ACTIVE_MILLISECONDS, left), 0)
    more = {"active_milliseconds": F("active_milliseconds") + spent}
    Conversation.objects.filter(pk=conversation.pk).update(**more)
    until = Now() + timedelta(minutes=campaign.lease_minutes)
    row.update(**more, lease_until=until)
