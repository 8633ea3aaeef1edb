"""The REST API's views of releases, exports, checkpoints, deployments and slots.

Each reads through a queryset or calls one service; roles and scopes are `permissions`.
"""

from typing import Any

from django.db.models import QuerySet
from django.http import Http404, HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import generics, status
from rest_framework.exceptions import APIException
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from comparisons.api.permissions import IsConfirmed, IsConfirmedToChange, IsResearcher
from comparisons.api.serializers import (
    CheckpointSerializer,
    DeploymentSerializer,
    ExportRequestSerializer,
    ReleaseExportSerializer,
    ReleaseSerializer,
    SlotSerializer,
)
from comparisons.downloads import ranged_download
from comparisons.models import DatasetRelease, ReleaseExport
from comparisons.models.campaign import Objective
from comparisons.queries.leaderboard import leaderboard
from comparisons.services import exporting
from modelserving.models import Checkpoint, Deployment, Slot


class Conflict(APIException):
    """The request is understood, but things stand otherwise; the message says how."""

    status_code = status.HTTP_409_CONFLICT
    default_code = "conflict"


class ReleaseList(generics.ListAPIView[DatasetRelease]):
    """All dataset releases, newest first."""

    queryset = DatasetRelease.objects.all()
    serializer_class = ReleaseSerializer


class ReleaseDetail(generics.RetrieveAPIView[DatasetRelease]):
    """One dataset release."""

    queryset = DatasetRelease.objects.all()
    serializer_class = ReleaseSerializer
    lookup_field = "name"


class ExportList(generics.ListAPIView[ReleaseExport]):
    """The exports of one release; ask for a new one by its format."""

    serializer_class = ReleaseExportSerializer
    permission_classes = [IsResearcher, IsConfirmedToChange]
    queryset = ReleaseExport.objects.none()

    def get_queryset(self) -> QuerySet[ReleaseExport]:
        """Exports of the release in the address."""
        release = _release(self.kwargs.get("name", ""))
        return release.exports.select_related("release")

    @extend_schema(request=ExportRequestSerializer, responses={202: ReleaseExportSerializer})
    def post(self, request: Request, name: str) -> Response:
        """Have an export made in the background; asking again changes nothing."""
        wanted = ExportRequestSerializer(data=request.data)
        wanted.is_valid(raise_exception=True)
        try:
            export = exporting.request_export(
                _release(name), wanted.validated_data["format"], requested_by=request.user
            )
        except exporting.ExportRefused as refusal:
            raise Conflict(str(refusal)) from None
        return Response(ReleaseExportSerializer(export).data, status=status.HTTP_202_ACCEPTED)


class ExportDownload(APIView):
    """The file of one export; ranges let a broken download go on."""

    permission_classes = [IsResearcher, IsConfirmed]

    @extend_schema(responses={(200, "application/zip"): OpenApiTypes.BINARY})
    def get(self, request: Request, name: str, export_format: str) -> HttpResponseBase:
        """Hand out the zip with train and test."""
        export = ReleaseExport.objects.select_related("release").filter(
            release__name=name, format=export_format, state=ReleaseExport.State.DONE
        )
        found = export.first()
        if found is None:
            raise Http404("no such export is done")
        try:
            path = exporting.downloadable_file(found, actor=request.user)
        except exporting.ExportRefused as refusal:
            raise Conflict(str(refusal)) from None
        return ranged_download(
            request._request, path, sha256=found.sha256, name=found.file_name  # noqa: SLF001 -- the framework's only way
        )  # fmt: skip


class CheckpointList(generics.ListAPIView[Checkpoint]):
    """All checkpoints, newest first."""

    queryset = Checkpoint.objects.prefetch_related("parents")
    serializer_class = CheckpointSerializer


class CheckpointDetail(generics.RetrieveAPIView[Checkpoint]):
    """One checkpoint by its hash."""

    queryset = Checkpoint.objects.prefetch_related("parents")
    serializer_class = CheckpointSerializer
    lookup_field = "hash"


class DeploymentList(generics.ListAPIView[Deployment]):
    """All deployments, newest first."""

    queryset = Deployment.objects.select_related("checkpoint", "ranker")
    serializer_class = DeploymentSerializer


class SlotList(generics.ListAPIView[Slot]):
    """All slots with the deployments in them and their traffic."""

    queryset = Slot.objects.prefetch_related("places__deployment")
    serializer_class = SlotSerializer


class LeaderboardView(APIView):
    """How strong the crowd finds each deployment."""

    @extend_schema(responses={200: OpenApiTypes.OBJECT})
    def get(self, request: Request, objective: str) -> Response:  # noqa: ARG002 -- the framework's signature
        """Elo with 95 % intervals and n for one objective."""
        return Response(leaderboard_as_dict(objective))


def leaderboard_as_dict(objective: str) -> dict[str, Any]:
    """The leaderboard as JSON writes it; 404 for an objective that is none."""
    if objective not in Objective.values:
        raise Http404("objectives are helpful and harmless")
    board = leaderboard(objective)
    return {
        "objective": board.objective,
        "anchor": board.anchor.name if board.anchor else None,
        "groups": board.groups,
        "choices": board.choices,
        "conversations": board.conversations,
        "unsure_left_out": board.unsure_left_out,
        "fitted_at": board.fitted_at,
        "standings": [
            {
                "deployment": row.deployment.name,
                "elo": row.standing.elo,
                "low": row.standing.low,
                "high": row.standing.high,
                "reason": row.standing.reason,
                "choices": row.standing.choices,
                "win_fraction": row.standing.win_fraction,
                "group": row.standing.group,
                "rank": row.standing.rank,
                "is_bounded": row.standing.is_bounded,
            }
            for row in board.rows
        ],
    }


def _release(name: str) -> DatasetRelease:
    release = DatasetRelease.objects.filter(name=name).first()
    if release is None:
        raise Http404("no such release")
    return release
