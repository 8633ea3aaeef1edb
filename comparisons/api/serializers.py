"""What the REST API says of releases, exports, checkpoints, deployments and slots.

Fields are named one by one: nothing new becomes public by itself.
"""

from django.urls import reverse
from rest_framework import serializers

from comparisons.models import DatasetRelease, ReleaseExport
from modelserving.models import Checkpoint, Deployment, Slot, SlotDeployment


class ReleaseExportSerializer(serializers.ModelSerializer[ReleaseExport]):
    """One downloadable form of a release."""

    download = serializers.SerializerMethodField()

    class Meta:
        model = ReleaseExport
        fields = (
            "format", "state", "rows_done", "rows_total", "file_name", "sha256", "size",
            "failure", "created_at", "finished_at", "download",
        )  # fmt: skip

    def get_download(self, export: ReleaseExport) -> str | None:
        """Where the file is, once it is made."""
        if export.state != ReleaseExport.State.DONE:
            return None
        return reverse("api_export_download", args=[export.release.name, export.format])


class ReleaseSerializer(serializers.ModelSerializer[DatasetRelease]):
    """A frozen set of comparisons."""

    class Meta:
        model = DatasetRelease
        fields = (
            "name", "state", "failure", "filters", "test_percent", "counts", "manifest_sha256",
            "created_at", "frozen_at", "stale_at",
        )  # fmt: skip


class ExportRequestSerializer(serializers.Serializer[dict[str, str]]):
    """Which form is wanted."""

    format = serializers.ChoiceField(choices=ReleaseExport.Format.choices)


class CheckpointSerializer(serializers.ModelSerializer[Checkpoint]):
    """An immutable weights directory."""

    parents: serializers.SlugRelatedField[Checkpoint] = serializers.SlugRelatedField(
        slug_field="hash", many=True, read_only=True
    )

    class Meta:
        model = Checkpoint
        fields = (
            "hash", "kind", "origin", "name", "parameters", "size", "parents", "run", "step",
            "results", "created_at",
        )  # fmt: skip


class DeploymentSerializer(serializers.ModelSerializer[Deployment]):
    """A checkpoint or endpoint with its sampling settings and ranker."""

    checkpoint = serializers.CharField(source="checkpoint.hash", default=None, read_only=True)
    ranker = serializers.CharField(source="ranker.hash", default=None, read_only=True)

    class Meta:
        model = Deployment
        fields = (
            "public_id", "name", "checkpoint", "endpoint_url", "endpoint_model", "temperature",
            "top_p", "max_new_tokens", "ranker", "best_of", "created_at",
        )  # fmt: skip


class PlaceSerializer(serializers.ModelSerializer[SlotDeployment]):
    """A deployment's place in a slot."""

    deployment = serializers.CharField(source="deployment.name", read_only=True)

    class Meta:
        model = SlotDeployment
        fields = ("deployment", "role", "traffic", "since")


class SlotSerializer(serializers.ModelSerializer[Slot]):
    """What campaigns draw from, with its places now."""

    places = PlaceSerializer(many=True, read_only=True)

    class Meta:
        model = Slot
        fields = ("name", "generation", "places", "created_at")
