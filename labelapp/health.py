"""Liveness, readiness and a status for machines.

Liveness looks at nothing, readiness at the database alone: a shared dependency that is down
must not take every web process out of service. `statusz` tells the rest and gates nothing.
"""

import shutil
from typing import Any

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.db import DatabaseError, connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.timezone import now
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from comparisons.models import Turn
from modelserving.presence import presence
from modelserving.redis_away import RedisAway, asking_redis, brief_client
from modelserving.warming import are_servers_missed
from training.models import TrainingRun
from training.queries import waiting_without_worker


@require_safe
@never_cache
@login_not_required
def healthz(_request: HttpRequest) -> HttpResponse:
    """This process answers."""
    return JsonResponse({"status": "alive"})


@require_safe
@never_cache
@login_not_required
def readyz(_request: HttpRequest) -> HttpResponse:
    """This process answers and reaches the database."""
    if not _has_database():
        return JsonResponse({"status": "the database does not answer"}, status=503)
    return JsonResponse({"status": "ready"})


@require_safe
@never_cache
@login_not_required
def statusz(_request: HttpRequest) -> HttpResponse:
    """What stands and what does not; always 200, so nothing is gated on it."""
    has_database = _has_database()
    free = shutil.disk_usage(settings.VAR).free
    status: dict[str, Any] = {
        "database": has_database,
        "redis": _has_redis(),
        "disk_free_bytes": free,
    }
    if has_database:
        status |= _backlog() | _missing()
    return JsonResponse(status)


def _backlog() -> dict[str, int]:
    overdue = TrainingRun.objects.filter(state=TrainingRun.State.RUNNING, lease_until__lt=now())
    return {
        "turns_generating": Turn.objects.filter(state=Turn.State.GENERATING).count(),
        "runs_queued": TrainingRun.objects.filter(state=TrainingRun.State.QUEUED).count(),
        "runs_without_lease": overdue.count(),
        "runs_without_worker": waiting_without_worker(),
    }


def _missing() -> dict[str, Any]:
    """Who should be there and is not; nothing is known of model servers where nobody looks."""
    seen = presence()
    if seen is None:  # Redis is away, which is said
        return {"background_stands": False, "models_away": False, "models_ready_at": None}
    return {
        "background_stands": seen.is_neglected,
        "models_away": are_servers_missed(seen),
        "models_ready_at": seen.ready_at,
    }


def _has_database() -> bool:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        return False
    return True


def _has_redis() -> bool:
    try:
        with asking_redis(), brief_client() as client:
            return bool(client.ping())
    except RedisAway:
        return False
