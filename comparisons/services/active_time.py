"""The time that people work, added up as they go on; going on keeps what they took.

Knows conversations and assignments; what an hour pays is the queries' business.
"""

from datetime import timedelta

from django.db.models import F
from django.utils import timezone

from comparisons.models import Assignment, Conversation

MOST_ACTIVE_MILLISECONDS = 30 * 60 * 1000  # one step; longer means the person was away


def count_active(conversation: Conversation, milliseconds: int) -> None:
    """Add active time to the conversation and its assignment, and keep the lease going."""
    spent = min(max(milliseconds, 0), MOST_ACTIVE_MILLISECONDS)
    row = {"active_milliseconds": F("active_milliseconds") + spent}
    Conversation.objects.filter(pk=conversation.pk).update(**row)
    campaign, assignment_id = conversation.campaign, conversation.assignment_id
    if campaign is None or assignment_id is None:
        return
    until = timezone.now() + timedelta(minutes=campaign.lease_minutes)
    Assignment.objects.filter(pk=assignment_id).update(**row, lease_until=until)
