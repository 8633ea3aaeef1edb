"""The REST API's views of training runs: list, look, start, stop, read metrics.

Each reads through a queryset or calls one service; roles and scopes are the API's permissions.
"""

from typing import Any

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import generics, status
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from comparisons.models import Account
from modelserving.models import Checkpoint
from modelserving.registry import CheckpointNotRegistered
from training import queries, run_files
from training.api.serializers import RunFilterSerializer, RunRequestSerializer, RunSerializer
from training.models import TrainingRun
from training.services import (
    RunRefused,
    RunRequest,
    find_checkpoint,
    request_stop,
    start_run,
)

PM = Checkpoint.Kind.PREFERENCE_MODEL


@extend_schema_view(get=extend_schema(parameters=[RunFilterSerializer]))
class RunList(generics.ListAPIView[TrainingRun]):
    """All training runs, newest first; `?kind=` and `?state=` narrow them down."""

    serializer_class = RunSerializer
    queryset = TrainingRun.objects.none()

    def get_queryset(self) -> QuerySet[TrainingRun]:
        """Runs with their inputs; 400 for a filter's value that is none."""
        asked = RunFilterSerializer(data=self.request.query_params)
        asked.is_valid(raise_exception=True)
        return queries.runs(**asked.validated_data).select_related("test_pm")

    @extend_schema(request=RunRequestSerializer, responses={201: RunSerializer})
    def post(self, request: Request) -> Response:
        """Start a run; what cannot run is refused with the reason and what to change."""
        wanted = RunRequestSerializer(data=request.data)
        wanted.is_valid(raise_exception=True)
        try:
            run = start_run(_run_request(wanted.validated_data), requested_by=_account(request))
        except (RunRefused, CheckpointNotRegistered) as refused:
            raise ValidationError({"detail": str(refused)}) from None
        return Response(RunSerializer(run).data, status=status.HTTP_201_CREATED)


class RunDetail(generics.RetrieveAPIView[TrainingRun]):
    """One training run."""

    queryset = TrainingRun.objects.select_related(
        "release", "initial", "ranker", "test_pm", "checkpoint"
    )
    serializer_class = RunSerializer
    lookup_field = "public_id"


class RunStop(APIView):
    """Ask a run to end after its step."""

    @extend_schema(request=None, responses={202: RunSerializer})
    def post(self, request: Request, public_id: Any) -> Response:
        """The newest checkpoint stays usable; asking twice changes nothing."""
        run = get_object_or_404(TrainingRun, public_id=public_id)
        request_stop(run, actor=_account(request))
        run.refresh_from_db()
        return Response(RunSerializer(run).data, status=status.HTTP_202_ACCEPTED)


class RunMetrics(APIView):
    """The rows of a run's metrics."""

    @extend_schema(responses={200: OpenApiTypes.OBJECT})
    def get(self, request: Request, public_id: Any) -> Response:
        """Rows from `?offset=` on, and the offset to ask for next."""
        run = get_object_or_404(TrainingRun, public_id=public_id)
        asked = run_files.offset_of(request.query_params.get("offset", "0"))
        path = run_files.directory_of(run) / "metrics.jsonl"
        rows, offset = run_files.rows_after(path, offset=asked)
        return Response({"rows": rows, "offset": offset})


def _run_request(given: dict[str, Any]) -> RunRequest:
    return RunRequest(
        kind=given["kind"], preset=given["preset"], overrides=given["overrides"],
        release=given["release"], questions=given["questions"], name=given["name"], request_key=given["request_key"],
        initial=find_checkpoint(given["initial"]) if given["initial"] else None,
        ranker=find_checkpoint(given["ranker"], kind=PM) if given["ranker"] else None,
        test_pm=find_checkpoint(given["test_pm"], kind=PM) if given["test_pm"] else None,
    )  # fmt: skip


def _account(request: Request) -> Account | None:
    return request.user if isinstance(request.user, Account) else None
