"""What the REST API says of training runs, and what it takes to start one.

Fields are named one by one: nothing new becomes public by itself.
"""

from typing import Any

from rest_framework import serializers

from comparisons.models import DatasetRelease
from training.models import TrainingRun


class RunSerializer(serializers.ModelSerializer[TrainingRun]):
    """One training run: state with its reason, progress, inputs by hash, results."""

    release = serializers.CharField(source="release.name", default=None, read_only=True)
    initial = serializers.CharField(source="initial.hash", default=None, read_only=True)
    ranker = serializers.CharField(source="ranker.hash", default=None, read_only=True)
    test_pm = serializers.CharField(source="test_pm.hash", default=None, read_only=True)
    checkpoint = serializers.CharField(source="checkpoint.hash", default=None, read_only=True)

    class Meta:
        model = TrainingRun
        fields = (
            "public_id", "kind", "name", "preset", "config", "state", "reason", "release", "initial",
            "ranker", "test_pm", "checkpoint", "attempt", "is_stop_requested", "progress", "results",
            "created_at", "started_at", "finished_at",
        )  # fmt: skip


class RunRequestSerializer(serializers.Serializer[dict[str, Any]]):
    """A run that is wanted; checkpoints by hash, beginning of a hash, name, or `latest`."""

    kind = serializers.ChoiceField(choices=TrainingRun.Kind.choices)
    preset = serializers.CharField(default="demo", max_length=40)
    overrides = serializers.DictField(child=serializers.CharField(max_length=2000), default=dict)
    release = serializers.SlugRelatedField(
        slug_field="name", queryset=DatasetRelease.objects.all(), default=None, allow_null=True
    )
    initial = serializers.CharField(default="", allow_blank=True, max_length=120)
    ranker = serializers.CharField(default="", allow_blank=True, max_length=120)
    test_pm = serializers.CharField(default="", allow_blank=True, max_length=120)
    name = serializers.CharField(default="", allow_blank=True, max_length=120)
    request_key = serializers.UUIDField(
        default=None,
        allow_null=True,
        help_text="made by the client: the same key gives the same run",
    )
