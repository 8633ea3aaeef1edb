"""What one crowdworker takes on and is paid for.

Knows the campaign and the pay rule; knows nothing of the choices made inside.
"""

import uuid

from django.db import models
from django.db.models import Q

from comparisons.models.campaign import Campaign
from comparisons.models.crowdworker import Crowdworker


class Assignment(models.Model):
    """N conversations of a campaign, with a lease, an outside submission id and a pay rule."""

    class State(models.TextChoices):
        PREVIEW = "preview", "preview"
        CONSENT = "consent", "consent"
        TRAINING = "training", "training"
        WORK = "work", "work"
        SUBMITTED = "submitted", "submitted"
        ACCEPTED = "accepted", "accepted"
        PAID = "paid", "paid"
        RETURNED = "returned", "returned"  # lease over, left, or withdrawn

    OPEN_STATES = (State.PREVIEW, State.CONSENT, State.TRAINING, State.WORK)

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    crowdworker = models.ForeignKey(
        Crowdworker, on_delete=models.PROTECT, related_name="assignments"
    )
    campaign = models.ForeignKey(Campaign, on_delete=models.PROTECT, related_name="assignments")
    state = models.CharField(max_length=12, choices=State, default=State.PREVIEW)
    conversations_required = models.PositiveSmallIntegerField(default=5)
    external_platform = models.CharField(max_length=12, blank=True)  # empty: invited
    external_study_id = models.CharField(max_length=80, blank=True)
    external_submission_id = models.CharField(max_length=80, blank=True)
    pay_rule = models.JSONField(
        default=dict
    )  # {"amount": "20.00", "currency": "USD", "per": "assignment"}
    active_milliseconds = models.PositiveBigIntegerField(default=0)
    counted_since = models.DateTimeField(
        null=True
    )  # when active time began, by the database's clock
    lease_until = models.DateTimeField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)
    submitted_at = models.DateTimeField(null=True)
    accepted_at = models.DateTimeField(null=True)
    paid_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["crowdworker", "campaign"],
                condition=Q(state__in=["preview", "consent", "training", "work"]),
                name="one_open_assignment_per_crowdworker_and_campaign",
            ),
            models.UniqueConstraint(
                fields=["external_submission_id", "external_study_id"],
                condition=~Q(external_submission_id=""),
                name="one_assignment_per_external_submission",
            ),
            models.UniqueConstraint(  # the study is what the person's own address said
                fields=["external_platform", "external_submission_id"],
                condition=Q(external_platform__in=["prolific", "mturk"])
                & ~Q(external_submission_id=""),
                name="one_assignment_per_submission_of_a_platform",
            ),
        ]
