"""Keep on every model server what slots draw from, so that nobody waits for a load.

Knows active places and server statuses; a server that is away or full is left for the next time.
"""

import logging
import threading
from collections.abc import Sequence

from django.db.models import Q

from modelserving import presence
from modelserving.asking import needed
from modelserving.client.calls import load_on
from modelserving.client.errors import EndpointError
from modelserving.client.statuses import ServerStatus, server_statuses
from modelserving.models import Checkpoint, SlotDeployment

logger = logging.getLogger(__name__)

ROOM = 3  # memory of a loaded checkpoint over its size on disk, at most: float32 of bfloat16, and caches


_loading = threading.Lock()  # of one process: a lock in Redis would outlive a worker that is killed


def warm_servers() -> list[str]:
    """Note who is ready and load what is missing; returns "url name" of everything that was loaded.

    A load may take minutes and a worker has few threads: while one of them loads, the others note and go.
    """
    statuses = server_statuses()
    presence.note(is_ready=any(status.is_ready for status in statuses))
    if not _loading.acquire(blocking=False):
        return []
    try:
        return _load_missing(statuses)
    finally:
        _loading.release()


def _load_missing(statuses: Sequence[ServerStatus]) -> list[str]:
    wanted = drawn_checkpoints()
    loaded: list[str] = []
    for status in statuses:
        if not status.is_ready or not wanted:
            continue
        for checkpoint in _missing(status, wanted):
            try:
                load_on(status.url, needed(checkpoint))
            except EndpointError as refused:
                logger.warning("%s did not load %s: %s", status.url, checkpoint, refused)
            else:
                loaded.append(f"{status.url} {checkpoint}")
    return loaded


def drawn_checkpoints() -> list[Checkpoint]:
    """Checkpoints and rankers of every deployment that takes traffic somewhere."""
    places = SlotDeployment.objects.filter(traffic__gt=0).select_related(
        "deployment__checkpoint__base", "deployment__ranker"
    )
    deployments = {place.deployment_id: place.deployment for place in places}
    found = [each for d in deployments.values() for each in (d.checkpoint, d.ranker) if each]
    return list({checkpoint.pk: checkpoint for checkpoint in found}.values())


def are_servers_missed(seen: presence.Presence) -> bool:
    """Whether none was ready when somebody last looked, and something that takes traffic is answered or ranked by one."""
    if seen.is_ready or not seen.is_looked_after:  # where nobody looks, nothing is known
        return False
    drawn = SlotDeployment.objects.filter(traffic__gt=0)
    ours = Q(deployment__checkpoint__isnull=False) | Q(deployment__ranker__isnull=False)
    return drawn.filter(ours).exists()


def _missing(status: ServerStatus, wanted: list[Checkpoint]) -> list[Checkpoint]:
    """What the server lacks and has room for: warming never pushes anything out of memory."""
    memory = status.detail.get("memory") or {}
    room = int(memory.get("budget_bytes") or 0) - int(memory.get("used_bytes") or 0)
    present = {each.get("hash") or each.get("name") for each in status.checkpoints}
    missing = []
    for checkpoint in wanted:
        if checkpoint.hash in present:
            continue
        base = checkpoint.base if checkpoint.base and checkpoint.base.hash not in present else None
        size = (checkpoint.size + (base.size if base else 0)) * ROOM
        if size <= room:
            room -= size
            missing.append(checkpoint)
            present |= {base.hash} if base else set()
    return missing
