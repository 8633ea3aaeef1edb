"""Write what staff did into a chain in which every entry holds the hash of the one before.

Knows entries, not their meaning: the callers say what was done to what.
"""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from django.db import IntegrityError, transaction
from django.utils.timezone import now

from comparisons.models import Account, AuditEntry

FIRST_PREVIOUS_HASH = "0" * 64
MOST_TRIES = 50  # writers that met at the chain's end; each try one of them gets through


def record(
    *,
    actor: Account | None,
    action: str,
    object_type: str,
    object_id: object,
    detail: Mapping[str, Any] | None = None,
) -> AuditEntry:
    """Append one entry; call it in the transaction of the act itself."""
    for tries_left in reversed(range(MOST_TRIES)):
        entry = AuditEntry(
            actor=actor,
            action=action,
            object_type=object_type,
            object_id=str(object_id),
            detail=dict(detail or {}),
            previous_hash=_last_hash(),
            at=now(),
        )
        entry.hash = entry_hash(entry)
        try:
            with transaction.atomic():
                entry.save(force_insert=True)
        except IntegrityError:  # previous_hash is unique: another entry was appended first
            if not tries_left or _last_hash() == entry.previous_hash:
                raise
        else:
            return entry
    raise AssertionError("unreachable: the last try returns or raises")


def entry_hash(entry: AuditEntry) -> str:
    """The sha256 over an entry's content and the hash before it, as 64 hex digits."""
    content = {
        "actor": entry.actor_id,
        "action": entry.action,
        "object_type": entry.object_type,
        "object_id": entry.object_id,
        "detail": entry.detail,
        "previous_hash": entry.previous_hash,
        "at": _instant(entry.at),
    }
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return sha256(canonical.encode("ascii")).hexdigest()


def chain_breaks() -> Iterator[tuple[int, str]]:
    """Every entry that does not hold: its key and what is wrong. Nothing on a whole chain."""
    expected = FIRST_PREVIOUS_HASH
    for entry in AuditEntry.objects.order_by("pk").iterator(chunk_size=2000):
        if entry.previous_hash != expected:
            yield entry.pk, "an entry before it was removed, added or put elsewhere"
        if entry_hash(entry) != entry.hash:
            yield entry.pk, "its content was changed after it was written"
        expected = entry.hash


def _last_hash() -> str:
    last = AuditEntry.objects.order_by("-pk").values_list("hash", flat=True).first()
    return last or FIRST_PREVIOUS_HASH


def _instant(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds")
