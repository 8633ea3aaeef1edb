"""What the REST API says of training runs, and what it takes to start one.

Fields are named one by one: nothing new becomes public by itself.
"""

import difflib
import json
from collections.abc import Mapping
from typing import Any

from rest_framework import serializers

from comparisons.models import DatasetRelease
from training.models import TrainingRun

LONGEST = 2000  # characters of a setting's value


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
            "ranker", "test_pm", "questions", "checkpoint", "attempt", "is_stop_requested", "progress", "results",
            "created_at", "started_at", "finished_at",
        )  # fmt: skip


NO_KIND = '"{input}" is not a kind of run: choose one of ' + ", ".join(TrainingRun.Kind.values)
NO_STATE = '"{input}" is not a state of a run: choose one of ' + ", ".join(TrainingRun.State.values)
NO_RELEASE = "no release is called {value}: cut one, or see the list of releases"


class RunFilterSerializer(serializers.Serializer[dict[str, str]]):
    """What a list of runs is narrowed down to; a filter that is left out or empty takes all."""

    kind = serializers.ChoiceField(
        choices=TrainingRun.Kind.choices, required=False, error_messages={"invalid_choice": NO_KIND}
    )
    state = serializers.ChoiceField(
        choices=TrainingRun.State.choices,
        required=False,
        error_messages={"invalid_choice": NO_STATE},
    )


class SettingsField(serializers.DictField):
    """Settings by name, written as JSON or as the command line takes them; given on as text."""

    child = serializers.JSONField()

    def to_internal_value(self, data: Any) -> dict[str, str]:
        """Texts by setting."""
        given: dict[str, Any] = super().to_internal_value(data)
        texts = {
            name: value if isinstance(value, str) else json.dumps(value)
            for name, value in given.items()
        }
        for name, text in texts.items():
            if len(text) > LONGEST:
                raise serializers.ValidationError(
                    f"{name} has {len(text)} characters: write at most {LONGEST}"
                )
        return texts


class RunRequestSerializer(serializers.Serializer[dict[str, Any]]):
    """A run that is wanted; checkpoints by hash, beginning of a hash, name, or `latest`."""

    kind = serializers.ChoiceField(
        choices=TrainingRun.Kind.choices, error_messages={"invalid_choice": NO_KIND}
    )
    preset = serializers.CharField(default="demo", max_length=40)
    overrides = SettingsField(default=dict)
    release = serializers.SlugRelatedField(
        slug_field="name", queryset=DatasetRelease.objects.all(), default=None, allow_null=True,
        error_messages={"does_not_exist": NO_RELEASE},
    )  # fmt: skip
    initial = serializers.CharField(default="", allow_blank=True, max_length=120)
    ranker = serializers.CharField(default="", allow_blank=True, max_length=120)
    test_pm = serializers.CharField(default="", allow_blank=True, max_length=120)
    questions = serializers.CharField(default="", allow_blank=True, max_length=64)
    name = serializers.CharField(default="", allow_blank=True, max_length=120)
    request_key = serializers.UUIDField(
        default=None,
        allow_null=True,
        help_text="made by the client: the same key gives the same run",
    )

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        """Refuse names that are none: a misspelt one would start another run than was meant."""
        unknown = (
            [name for name in data if name not in self.fields] if isinstance(data, Mapping) else []
        )
        if unknown:
            raise serializers.ValidationError({name: [self._cure(name)] for name in unknown})
        return super().to_internal_value(data)

    def _cure(self, name: str) -> str:
        near = difflib.get_close_matches(str(name), self.fields, n=1)
        cure = f"did you mean {near[0]}?" if near else f"known: {', '.join(self.fields)}"
        return f"there is no such name here: {cure}"
