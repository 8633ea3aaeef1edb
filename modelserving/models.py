"""Checkpoints, the deployments that serve them, and the slots that campaigns draw from.

Knows prompts, checkpoints and traffic; knows no campaign, conversation or training run.
"""

import uuid

from django.conf import settings
from django.db import models
from django.db.models import F, Q


class Checkpoint(models.Model):
    """An immutable weights directory with a manifest; `hash` is its identity and its directory's name."""

    class Kind(models.TextChoices):
        LANGUAGE_MODEL = "language_model", "language model"
        PREFERENCE_MODEL = "preference_model", "preference model"
        POLICY = "policy", "policy"

    class Origin(models.TextChoices):
        STARTER = "starter", "ships with the project"
        IMPORTED = "imported", "imported"
        TRAINED = "trained", "trained here"

    hash = models.CharField(max_length=64, unique=True)
    kind = models.CharField(max_length=24, choices=Kind)
    origin = models.CharField(max_length=16, choices=Origin)
    name = models.CharField(max_length=120)
    manifest = models.JSONField()
    parameters = models.BigIntegerField(null=True)  # number of weights
    size = models.BigIntegerField()  # bytes on disk
    parents = models.ManyToManyField("self", symmetrical=False, related_name="children", blank=True)
    base = models.ForeignKey(  # whose weights an adapter is added to; null: the weights are whole
        "self", on_delete=models.PROTECT, null=True, blank=True, related_name="adapters"
    )
    run = models.UUIDField(
        null=True, db_index=True
    )  # public id of the training run; a run is above this app
    step = models.PositiveIntegerField(null=True)
    results = models.JSONField(default=dict)  # headline figures of the run that made it
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-pk"]

    def __str__(self) -> str:
        return f"{self.name} ({self.hash[:8]})"


class Deployment(models.Model):
    """A checkpoint (or external endpoint) with sampling settings and an optional ranker. Immutable."""

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    name = models.CharField(max_length=120, unique=True)
    checkpoint = models.ForeignKey(
        Checkpoint, on_delete=models.PROTECT, null=True, blank=True, related_name="deployments"
    )
    endpoint_url = models.URLField(
        blank=True
    )  # OpenAI-compatible, ending in /v1; empty = our own model server
    endpoint_model = models.CharField(max_length=200, blank=True)
    endpoint_secret_env = models.CharField(
        max_length=80, blank=True
    )  # the environment variable that holds the key
    temperature = models.FloatField(default=1.0)
    top_p = models.FloatField(default=1.0)
    max_new_tokens = models.PositiveIntegerField(default=128)
    ranker = models.ForeignKey(
        Checkpoint, on_delete=models.PROTECT, null=True, blank=True, related_name="ranked"
    )
    best_of = models.PositiveSmallIntegerField(default=1)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-pk"]
        constraints = [
            models.CheckConstraint(
                condition=Q(checkpoint__isnull=False, endpoint_url="")
                | Q(checkpoint__isnull=True) & ~Q(endpoint_url=""),
                name="deployment_is_a_checkpoint_or_an_endpoint",
            ),
            models.CheckConstraint(
                condition=Q(best_of=1, ranker__isnull=True)
                | Q(best_of__gt=1, ranker__isnull=False),
                name="deployment_ranks_when_it_samples_many",
            ),
            models.CheckConstraint(
                condition=Q(temperature__gte=0)
                & Q(top_p__gt=0)
                & Q(top_p__lte=1)
                & Q(max_new_tokens__gte=1),
                name="deployment_sampling_is_possible",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_held_back(self) -> bool:
        """Best-of-k cannot stream, so both sides of its turns appear together (paper B.5)."""
        return self.best_of > 1


class Slot(models.Model):
    """What a campaign draws from; `generation` is the compare-and-swap counter of promotions."""

    name = models.CharField(max_length=120, unique=True)
    generation = models.PositiveIntegerField(default=0)
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.name


class SlotDeployment(models.Model):
    """A deployment's place in a slot: its role and its traffic weight (in percent)."""

    class Role(models.TextChoices):
        TRIAL = "trial", "on trial"
        SERVING = "serving", "serving"
        RETIRED = "retired", "retired"

    slot = models.ForeignKey(Slot, on_delete=models.PROTECT, related_name="places")
    deployment = models.ForeignKey(Deployment, on_delete=models.PROTECT, related_name="places")
    role = models.CharField(max_length=12, choices=Role)
    traffic = models.PositiveSmallIntegerField(default=0)  # percent of sides drawn
    since = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["slot", "deployment"], name="one_place_per_deployment_in_a_slot"
            ),
            models.CheckConstraint(condition=Q(traffic__lte=100), name="traffic_is_a_percentage"),
            models.CheckConstraint(
                condition=~Q(role="retired") | Q(traffic=0), name="retired_takes_no_traffic"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.deployment} {self.role} in {self.slot}"


class PromotionEvent(models.Model):
    """Append-only history of a slot: what changed, on which evidence, by whom."""

    class Kind(models.TextChoices):
        TRIAL = "trial", "put on trial"
        PROMOTE = "promote", "promoted"
        ROLL_BACK = "roll_back", "rolled back"
        RETIRE = "retire", "retired"
        TRAFFIC = "traffic", "traffic changed"

    slot = models.ForeignKey(Slot, on_delete=models.PROTECT, related_name="events")
    kind = models.CharField(max_length=12, choices=Kind)
    generation = models.PositiveIntegerField()  # the slot's generation after this event
    deployment = models.ForeignKey(Deployment, on_delete=models.PROTECT, related_name="events")
    previous = models.ForeignKey(Deployment, on_delete=models.PROTECT, null=True, related_name="+")
    before = models.JSONField(
        default=list
    )  # the slot's places before: [{deployment, role, traffic}]
    after = models.JSONField(default=list)
    evidence = models.JSONField(default=dict)
    reason = models.TextField(blank=True)
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+"
    )
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["slot", "generation"], name="one_event_per_slot_generation"
            ),
            models.CheckConstraint(
                condition=Q(previous__isnull=True) | ~Q(previous=F("deployment")),
                name="promotion_changes_something",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.deployment} in {self.slot}"
