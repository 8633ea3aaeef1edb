"""Checks of slots, the audit chain and what must be running.

Reads the database and asks the services; I6 and I12 of docs/operations.md.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

import redis
from django.conf import settings
from django.db.models import Q
from django.utils.timezone import now

from comparisons.models import AuditEntry, Campaign
from comparisons.services import audit
from labelapp.celery import app
from labelapp.doctor.findings import Check, Finding, warning
from modelserving.client.statuses import server_statuses
from modelserving.models import PromotionEvent, Slot, SlotDeployment
from training.models import TrainingRun

QUEUES = {"generation", "default", "training"}
LEAST_FREE = 1024**3
ALL = 100


def slots_serve() -> Iterator[Finding]:
    """I12: every slot serves somebody, its shares sum to 100, its history leads to where it is."""
    live = Campaign.objects.filter(state=Campaign.State.LIVE)
    for slot in Slot.objects.exclude(Q(generation=0) & ~Q(campaigns__in=live)):
        places = list(slot.places.all())
        if not any(place.role == SlotDeployment.Role.SERVING for place in places):
            yield Finding(
                what=f"slot {slot}: nobody serves it", cure=f"manage.py roll_back --slot {slot}"
            )
        if (total := sum(place.traffic for place in places)) != ALL:
            yield Finding(
                what=f"slot {slot}: the shares sum to {total}",
                cure="set the traffic anew on the slot's page",
            )
        yield from _history(slot)


def _history(slot: Slot) -> Iterator[Finding]:
    events = PromotionEvent.objects.filter(slot=slot).order_by("generation")
    generations = list(events.values_list("generation", flat=True))
    if generations != list(range(1, slot.generation + 1)):
        yield Finding(
            what=f"slot {slot}: generation {slot.generation}, but events {generations[-3:]}",
            cure="an event is missing: restore the database from a backup",
        )
    last = events.last()
    if last is None:
        return
    stands = {(p.deployment_id, p.role, p.traffic) for p in slot.places.all()}
    meant = {(p["deployment"], p["role"], p["traffic"]) for p in last.after}
    if stands != meant:
        yield Finding(
            what=f"slot {slot}: its places are not what its last event made them",
            cure="somebody edited rows by hand: set the traffic anew on the slot's page",
        )


def audit_is_whole() -> Iterator[Finding]:
    """I6: nobody changed, added or removed an entry of the audit."""
    for entry, what in audit.chain_breaks():
        yield Finding(
            what=f"audit entry {entry}: {what}",
            cure="compare with a backup: somebody wrote to the database past the application",
        )
    entries = AuditEntry.objects.filter(object_type="slot").only("action", "object_id", "detail")
    told = {(each.object_id, each.action, each.detail.get("generation")) for each in entries}
    events = PromotionEvent.objects.exclude(generation=1)  # that one came with the slot
    for event in events.select_related("slot").order_by("pk"):
        if (str(event.slot_id), f"slot.{event.kind}", event.generation) not in told:
            yield Finding(
                what=f"slot {event.slot}: the audit does not tell of generation {event.generation}",
                cure="find out who changed it: its page names them, unless it was written past the application",
            )


def redis_answers() -> Iterator[Finding]:
    """The doorbell works; without it chats wait for the reconciler."""
    try:
        redis.Redis.from_url(settings.REDIS_URL, socket_timeout=3).ping()
    except (redis.RedisError, OSError) as away:
        yield Finding(
            what=f"Redis does not answer: {away}", cure="./start runs one, or set REDIS_URL"
        )


def workers_answer() -> Iterator[Finding]:
    """Every queue has somebody who listens."""
    if any(redis_answers()):  # said by that check
        return
    answers = app.control.inspect(timeout=3).active_queues() or {}
    heard = {queue["name"] for queues in answers.values() for queue in queues}
    for queue in sorted(QUEUES - heard):
        yield Finding(
            what=f"no worker listens to the queue {queue}",
            cure=f"./start runs one; alone: celery -A labelapp worker -Q {queue} --pool threads",
        )


def model_servers_answer() -> Iterator[Finding]:
    """Somebody writes responses."""
    statuses = server_statuses()
    if not any(status.is_ready for status in statuses):
        yield Finding(
            what="no model server is ready",
            cure="./start runs one; see its log in var/log/models.log",
        )
    for status in statuses:
        if not status.is_ready:
            yield warning(
                what=f"model server {status.url}: {status.failure or 'not ready'}",
                cure="see its log; it is asked again by itself",
            )


def there_is_room() -> Iterator[Finding]:
    """Checkpoints and the database need room to be written whole."""
    for folder in {Path(settings.VAR), Path(settings.ARTEFACTS)}:
        free = shutil.disk_usage(folder).free
        if free < LEAST_FREE:
            yield Finding(
                what=f"{free // 1024**2} MB free where {folder} is",
                cure="free 1 GB: remove old run folders, or move ARTEFACTS to another disk",
            )


def runs_are_looked_after() -> Iterator[Finding]:
    """I9: a running run has a lease that somebody extends."""
    lost = TrainingRun.objects.filter(state=TrainingRun.State.RUNNING, lease_until__lt=now())
    if count := lost.count():
        yield warning(
            what=f"{count} running runs without a living worker",
            cure="they are taken up within two minutes where beat and a training worker run",
        )


CHECKS = (
    Check(name="slots", promise="every slot serves somebody", look=slots_serve),
    Check(name="audit", promise="the audit is unchanged", look=audit_is_whole),
    Check(name="leases", promise="runs have a living worker", look=runs_are_looked_after),
)
RUNNING_CHECKS = (
    Check(name="redis", promise="Redis answers", look=redis_answers),
    Check(name="workers", promise="every queue has a worker", look=workers_answer),
    Check(name="model-servers", promise="a model server is ready", look=model_servers_answer),
    Check(name="disk", promise="there is room to write", look=there_is_room),
)
