"""A prompt that waits for a reply written by a person, to be compared with a model's.

Knows who holds it until when, who held it before and what was written; the comparison is second-opinion work.
"""

import uuid

from django.db import models
from django.db.models import Q

from comparisons.models.conversation import Response, Turn
from comparisons.models.crowdworker import Crowdworker


class WantedReply(models.Model):
    """One turn whose ideal reply a person writes, on a lease."""

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    turn = models.OneToOneField(Turn, on_delete=models.PROTECT, related_name="wanted_reply")
    crowdworker = models.ForeignKey(
        Crowdworker, on_delete=models.PROTECT, null=True, related_name="wanted_replies"
    )
    lease_until = models.DateTimeField(null=True)
    response = models.OneToOneField(
        Response, on_delete=models.PROTECT, null=True, related_name="wanted_by"
    )
    active_milliseconds = models.PositiveBigIntegerField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)
    written_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.CheckConstraint(
                condition=Q(response__isnull=True) | Q(crowdworker__isnull=False),
                name="a_written_reply_has_its_writer",
            ),
            models.UniqueConstraint(
                fields=["crowdworker"],
                condition=Q(crowdworker__isnull=False, response__isnull=True),
                name="one_reply_in_hand_per_crowdworker",
            ),
        ]
        indexes = [
            models.Index(fields=["response", "crowdworker", "lease_until"], name="wanted_replies")
        ]


class PassedReply(models.Model):
    """A person gave a wanted reply back: it is not offered to them again."""

    wanted = models.ForeignKey(WantedReply, on_delete=models.PROTECT, related_name="passes")
    crowdworker = models.ForeignKey(
        Crowdworker, on_delete=models.PROTECT, related_name="passed_replies"
    )
    reason = models.CharField(max_length=40, blank=True)
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["wanted", "crowdworker"], name="one_pass_per_wanted_reply_and_crowdworker"
            )
        ]


class LapsedReply(models.Model):
    """A prompt left a person's hands without a word of theirs; that they read it counts still."""

    wanted = models.ForeignKey(WantedReply, on_delete=models.PROTECT, related_name="lapses")
    crowdworker = models.ForeignKey(
        Crowdworker, on_delete=models.PROTECT, related_name="lapsed_replies"
    )
    shown_at = models.DateTimeField()  # when it was handed out, not when it lapsed
