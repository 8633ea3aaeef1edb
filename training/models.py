"""Training runs and the iterations of the online loop.

Knows releases and checkpoints by row; the arithmetic happens in another process.
"""

import uuid

from django.conf import settings
from django.db import models
from django.db.models import Q

from comparisons.models import DatasetRelease
from modelserving.models import Checkpoint, Deployment, Slot


class Iteration(models.Model):
    """One turn of the online loop: release, preference model, policies, trial, promotion."""

    class State(models.TextChoices):
        WAITING = "waiting", "waiting for comparisons"
        RUNNING = "running", "running"
        TRIAL = "trial", "on trial"
        DONE = "done", "done"
        CANCELLED = "cancelled", "cancelled"

    number = models.PositiveIntegerField(unique=True)
    slot = models.ForeignKey(Slot, on_delete=models.PROTECT, related_name="iterations")
    state = models.CharField(max_length=12, choices=State, default=State.WAITING)
    release = models.ForeignKey(
        DatasetRelease, on_delete=models.PROTECT, null=True, related_name="iterations"
    )
    settings = models.JSONField(default=dict)
    notes = models.JSONField(default=list)  # [{at, step, what, why}]
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-number"]


class TrainingRun(models.Model):
    """One configured execution. The row is the job: lease, attempt (fencing token), heartbeat."""

    class Kind(models.TextChoices):
        LANGUAGE_MODEL = "language_model", "language model"
        CONTEXT_DISTILLATION = "context_distillation", "context distillation"
        PREFERENCE_PRETRAINING = "preference_pretraining", "preference pretraining"
        PREFERENCE_MODEL = "preference_model", "preference model"
        PPO = "ppo", "PPO policy"
        BEST_OF_K = "best_of_k", "best of k"
        EVALUATION = "evaluation", "evaluation"

    class State(models.TextChoices):
        QUEUED = "queued", "queued"
        RUNNING = "running", "running"
        DONE = "done", "done"
        STOPPED = "stopped", "stopped"
        FAILED = "failed", "failed"

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    kind = models.CharField(max_length=24, choices=Kind)
    name = models.CharField(max_length=120, blank=True)
    preset = models.CharField(max_length=40, blank=True)
    config = models.JSONField()
    state = models.CharField(max_length=8, choices=State, default=State.QUEUED)
    reason = models.TextField(blank=True)  # why it stopped, failed or waits: shown as it is
    release = models.ForeignKey(
        DatasetRelease, on_delete=models.PROTECT, null=True, related_name="runs"
    )
    initial = models.ForeignKey(
        Checkpoint, on_delete=models.PROTECT, null=True, related_name="runs_from"
    )
    ranker = models.ForeignKey(
        Checkpoint, on_delete=models.PROTECT, null=True, related_name="runs_against"
    )
    test_pm = models.ForeignKey(
        Checkpoint, on_delete=models.PROTECT, null=True, related_name="runs_tested_by"
    )
    questions = models.CharField(max_length=64, blank=True)  # name of an evaluation's question set
    checkpoint = models.ForeignKey(
        Checkpoint, on_delete=models.PROTECT, null=True, related_name="made_by"
    )
    iteration = models.ForeignKey(
        Iteration, on_delete=models.PROTECT, null=True, related_name="runs"
    )
    attempt = models.PositiveIntegerField(default=0)
    max_attempts = models.PositiveIntegerField(default=5)
    lease_owner = models.CharField(max_length=120, blank=True)
    lease_until = models.DateTimeField(null=True)
    heartbeat_at = models.DateTimeField(null=True)
    is_stop_requested = models.BooleanField(default=False)
    progress = models.JSONField(default=dict)  # step, total_steps, phase, seconds_left
    results = models.JSONField(default=dict)
    request_key = models.UUIDField(null=True, unique=True)  # client-made idempotency key
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-pk"]
        indexes = [models.Index(fields=["state", "lease_until"])]
        constraints = [
            models.CheckConstraint(
                condition=~Q(state="running") | ~Q(lease_owner=""),
                name="a_running_run_has_an_owner",
            )
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.pk}"


class Trial(models.Model):
    """A run's policy on trial in a slot: which deployment, since when."""

    run = models.ForeignKey(TrainingRun, on_delete=models.PROTECT, related_name="trials")
    deployment = models.OneToOneField(Deployment, on_delete=models.PROTECT, related_name="trial")
    slot = models.ForeignKey(Slot, on_delete=models.PROTECT, related_name="trials")
    created_at = models.DateTimeField(auto_now_add=True)
