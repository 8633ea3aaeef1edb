"""Immutable, hashed snapshots of comparisons, and their downloadable forms.

Knows which comparisons are inside and in which split; knows nothing of training.
"""

from django.conf import settings
from django.db import models

from comparisons.models.comparison import Comparison


class DatasetRelease(models.Model):
    """A frozen set of comparisons with splits; its files stand under releases/<name>/."""

    class State(models.TextChoices):
        CUTTING = "cutting", "being cut"
        FROZEN = "frozen", "frozen"
        FAILED = "failed", "failed"

    name = models.CharField(max_length=80, unique=True)
    state = models.CharField(max_length=8, choices=State, default=State.CUTTING)
    failure = models.CharField(max_length=200, blank=True)
    filters = models.JSONField(default=dict)
    test_percent = models.PositiveSmallIntegerField(default=5)
    counts = models.JSONField(
        default=dict
    )  # train, test, per objective and tranche, left out by reason
    manifest_sha256 = models.CharField(max_length=64, blank=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    frozen_at = models.DateTimeField(null=True)
    stale_at = models.DateTimeField(null=True)  # a comparison inside was withdrawn since

    class Meta:
        ordering = ["-pk"]

    def __str__(self) -> str:
        return self.name


class ReleaseComparison(models.Model):
    """One comparison in one release, with its split."""

    class Split(models.TextChoices):
        TRAIN = "train", "train"
        TEST = "test", "test"

    release = models.ForeignKey(DatasetRelease, on_delete=models.PROTECT, related_name="members")
    comparison = models.ForeignKey(Comparison, on_delete=models.PROTECT, related_name="memberships")
    split = models.CharField(max_length=5, choices=Split)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["release", "comparison"], name="a_comparison_stands_once_in_a_release"
            )
        ]


class ReleaseExport(models.Model):
    """One downloadable form of a release, made in the background."""

    class Format(models.TextChoices):
        HH = "hh", "HH chosen / rejected"
        TRL = "trl", "TRL preference pairs"
        RICH = "rich", "rich rows"
        PARQUET = "parquet", "Parquet"
        CSV = "csv", "CSV"

    class State(models.TextChoices):
        QUEUED = "queued", "queued"
        RUNNING = "running", "running"
        DONE = "done", "done"
        FAILED = "failed", "failed"

    release = models.ForeignKey(DatasetRelease, on_delete=models.PROTECT, related_name="exports")
    format = models.CharField(max_length=8, choices=Format)
    state = models.CharField(max_length=8, choices=State, default=State.QUEUED)
    rows_done = models.PositiveIntegerField(default=0)
    rows_total = models.PositiveIntegerField(default=0)
    file_name = models.CharField(max_length=120, blank=True)
    sha256 = models.CharField(max_length=64, blank=True)
    size = models.BigIntegerField(default=0)
    failure = models.CharField(max_length=200, blank=True)
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["release", "format"], name="one_export_per_release_and_format"
            )
        ]
