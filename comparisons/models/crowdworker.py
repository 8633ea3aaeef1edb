"""The human labeller's profile, how they arrive, and what they agreed to.

Knows nothing of what they were shown or chose.
"""

import uuid

from django.conf import settings
from django.db import models
from django.db.models import Q


class Crowdworker(models.Model):
    """A human labeller. `pseudonym` is what staff see; the external id is kept as a keyed hash only."""

    class Standing(models.TextChoices):
        ACTIVE = "active", "active"
        SUSPENDED = "suspended", "suspended"
        WITHDRAWN = "withdrawn", "withdrawn"

    class Platform(models.TextChoices):
        DIRECT = "direct", "direct"
        PROLIFIC = "prolific", "Prolific"
        MTURK = "mturk", "MTurk"
        EXTERNAL = "external", "other platform"
        SIMULATED = "simulated", "simulated"

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    account = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="crowdworker"
    )
    pseudonym = models.CharField(max_length=24, unique=True)
    platform = models.CharField(max_length=12, choices=Platform, default=Platform.DIRECT)
    external_id_hash = models.CharField(max_length=64, blank=True)
    pool = models.CharField(max_length=40, default="general")  # general, select, …
    standing = models.CharField(max_length=12, choices=Standing, default=Standing.ACTIVE)
    standing_reason = models.TextField(blank=True)
    is_red_team_opted_in = models.BooleanField(default=False)
    comfort = models.CharField(max_length=40, blank=True)
    cover_responses = models.CharField(max_length=12, default="always")  # always, likely, never
    topic_opt_outs = models.JSONField(default=list, blank=True)
    withdrawn_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["platform", "external_id_hash"],
                condition=~Q(external_id_hash=""),
                name="one_crowdworker_per_external_id",
            )
        ]

    def __str__(self) -> str:
        return self.pseudonym


class Invitation(models.Model):
    """A sign-up code, kept as a hash; sign-up is closed without one."""

    code_sha256 = models.CharField(max_length=64, unique=True)
    label = models.CharField(max_length=80)
    pool = models.CharField(max_length=40, default="general")
    uses_left = models.PositiveIntegerField(default=1)
    expires_at = models.DateTimeField(null=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)


class ConsentRecord(models.Model):
    """A crowdworker read and accepted one version of a campaign's instructions and consent text."""

    crowdworker = models.ForeignKey(Crowdworker, on_delete=models.PROTECT, related_name="consents")
    instruction_version = models.ForeignKey(
        "comparisons.InstructionVersion", on_delete=models.PROTECT, related_name="consents"
    )
    agreed_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["crowdworker", "instruction_version"],
                name="one_consent_per_crowdworker_and_version",
            )
        ]
