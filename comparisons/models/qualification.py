"""Practice comparisons with known answers that come before a campaign's work, and how people did in them.

Knows the campaign and the people; published versions are never edited and every answer is a row of its own.
"""

import uuid

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from comparisons.models.campaign import Campaign
from comparisons.models.crowdworker import Crowdworker


class Qualification(models.Model):
    """One published set of practice comparisons: how many must be right, and how often one may try."""

    campaign = models.ForeignKey(Campaign, on_delete=models.PROTECT, related_name="qualifications")
    version = models.PositiveIntegerField()
    pass_mark = models.PositiveSmallIntegerField()  # answers that must be right
    attempts = models.PositiveSmallIntegerField(default=2)
    published_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+"
    )
    published_at = models.DateTimeField(auto_now_add=True)
    retired_at = models.DateTimeField(null=True)  # switched off, or replaced by a later version

    class Meta:
        ordering = ["-version"]
        constraints = [
            models.UniqueConstraint(
                fields=["campaign", "version"], name="one_qualification_per_version"
            ),
            models.UniqueConstraint(
                fields=["campaign"],
                condition=Q(retired_at__isnull=True),
                name="one_standing_qualification_per_campaign",
            ),
            models.CheckConstraint(
                condition=Q(pass_mark__gte=1, attempts__gte=1), name="a_qualification_can_be_passed"
            ),
        ]


class QualificationItem(models.Model):
    """A comparison whose answer is known, with the reason that people read afterwards."""

    class Side(models.TextChoices):
        A = "A", "A"
        B = "B", "B"

    qualification = models.ForeignKey(Qualification, on_delete=models.PROTECT, related_name="items")
    number = models.PositiveSmallIntegerField()  # 1..N
    prompt = models.TextField()
    response_a = models.TextField()
    response_b = models.TextField()
    known_side = models.CharField(max_length=1, choices=Side)  # the one that should be picked
    why = models.TextField()

    class Meta:
        ordering = ["number"]
        constraints = [
            models.UniqueConstraint(
                fields=["qualification", "number"], name="one_practice_item_per_number"
            ),
            models.CheckConstraint(
                condition=~Q(response_a=F("response_b")), name="a_practice_item_has_two_responses"
            ),
        ]


class QualificationAttempt(models.Model):
    """One try of one person; it exists from its first answer on."""

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    crowdworker = models.ForeignKey(
        Crowdworker, on_delete=models.PROTECT, related_name="qualification_attempts"
    )
    qualification = models.ForeignKey(
        Qualification, on_delete=models.PROTECT, related_name="attempts_made"
    )
    number = models.PositiveSmallIntegerField()  # 1..attempts
    begun_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["number"]
        constraints = [
            models.UniqueConstraint(
                fields=["crowdworker", "qualification", "number"],
                name="one_attempt_per_crowdworker_and_number",
            )
        ]


class QualificationAnswer(models.Model):
    """What was picked, in the item's own letters; `is_mirrored` says that A stood on B's side."""

    attempt = models.ForeignKey(
        QualificationAttempt, on_delete=models.PROTECT, related_name="answers"
    )
    item = models.ForeignKey(QualificationItem, on_delete=models.PROTECT, related_name="answers")
    picked_side = models.CharField(max_length=1, choices=QualificationItem.Side)
    strength = models.PositiveSmallIntegerField()
    is_mirrored = models.BooleanField(default=False)
    is_right = models.BooleanField()
    active_milliseconds = models.PositiveBigIntegerField(null=True)
    answered_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["attempt", "item"], name="one_answer_per_attempt_and_item"
            ),
            models.CheckConstraint(
                condition=Q(strength__gte=1, strength__lte=4),
                name="strength_of_an_answer_is_one_to_four",
            ),
        ]


class QualificationResult(models.Model):
    """How an attempt ended, written once with its last answer."""

    attempt = models.OneToOneField(
        QualificationAttempt, on_delete=models.PROTECT, related_name="result"
    )
    right = models.PositiveSmallIntegerField()
    total = models.PositiveSmallIntegerField()
    is_passed = models.BooleanField()
    at = models.DateTimeField(auto_now_add=True)
