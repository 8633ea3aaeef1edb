"""How people come from another platform: where a campaign recruits, who arrived, what the platform said.

Knows study, submission and event ids; never the id that a platform knows a person by.
"""

import uuid

from django.conf import settings
from django.db import models
from django.db.models import Q

from comparisons.models.assignment import Assignment
from comparisons.models.campaign import Campaign


class ArrivalSource(models.Model):
    """One study, HIT or link elsewhere that sends people into a campaign."""

    class Platform(models.TextChoices):
        PROLIFIC = "prolific", "Prolific"
        MTURK = "mturk", "MTurk"
        EXTERNAL = "external", "other platform"

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    campaign = models.ForeignKey(Campaign, on_delete=models.PROTECT, related_name="arrival_sources")
    platform = models.CharField(max_length=12, choices=Platform)
    label = models.CharField(max_length=80)
    external_study_id = models.CharField(max_length=80, blank=True)  # empty: any study, any HIT
    completion_code = models.CharField(max_length=40, blank=True)  # empty: one per assignment
    completion_url = models.URLField(max_length=300, blank=True)  # of another platform
    id_parameter = models.CharField(max_length=40, blank=True)  # of another platform's address
    submission_parameter = models.CharField(max_length=40, blank=True)
    pay_amount = models.DecimalField(max_digits=8, decimal_places=2, default=0)  # per assignment
    pay_currency = models.CharField(max_length=3, default="USD")
    places = models.PositiveIntegerField(null=True, blank=True)  # None: no limit of ours
    is_open = models.BooleanField(default=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["platform", "external_study_id"],
                condition=~Q(external_study_id=""),
                name="one_arrival_source_per_study",
            ),
            models.CheckConstraint(
                condition=~Q(platform="prolific") | ~Q(completion_code=""),
                name="a_prolific_source_has_a_completion_code",
            ),
            models.CheckConstraint(
                condition=~Q(platform="external") | ~Q(id_parameter=""),
                name="another_platform_names_its_id_parameter",
            ),
            models.CheckConstraint(
                condition=Q(pay_amount__gte=0), name="the_pay_of_a_source_is_not_negative"
            ),
        ]

    def __str__(self) -> str:
        return self.label


class Arrival(models.Model):
    """One assignment that came through a source; the way back to the platform starts here."""

    source = models.ForeignKey(ArrivalSource, on_delete=models.PROTECT, related_name="arrivals")
    assignment = models.OneToOneField(Assignment, on_delete=models.PROTECT, related_name="arrival")
    submit_to = models.CharField(max_length=60, blank=True)  # MTurk: the origin that takes the form
    platform_status = models.CharField(
        max_length=24, blank=True
    )  # as the platform decided, or last said
    created_at = models.DateTimeField(auto_now_add=True)


class PlatformEvent(models.Model):
    """One signed event of a platform, kept so that it is heeded once."""

    platform = models.CharField(max_length=12, choices=ArrivalSource.Platform)
    event_id = models.CharField(max_length=80)
    event_type = models.CharField(max_length=60)
    status = models.CharField(max_length=24, blank=True)
    assignment = models.ForeignKey(
        Assignment, on_delete=models.PROTECT, null=True, related_name="platform_events"
    )
    received_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["platform", "event_id"], name="a_platform_event_is_heeded_once"
            )
        ]
