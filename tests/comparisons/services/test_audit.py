"""The audit is a chain: a changed, removed or added entry shows."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection

from comparisons.models import AuditEntry
from comparisons.services import audit

pytestmark = pytest.mark.django_db


def _three():
    return [
        audit.record(
            actor=None, action=f"act.{n}", object_type="thing", object_id=n, detail={"n": n}
        )
        for n in range(3)
    ]


def test_whole_chain_has_no_breaks():
    entries = _three()

    assert list(audit.chain_breaks()) == []
    assert entries[0].previous_hash == audit.FIRST_PREVIOUS_HASH
    assert entries[2].previous_hash == entries[1].hash


@pytest.mark.parametrize(
    "change",
    [
        {"action": "act.9"},
        {"object_id": "9"},
        {"detail": {"n": 9}},
        {"object_type": "other"},
    ],
)
def test_one_changed_field_is_found(change):
    entries = _three()
    AuditEntry.objects.filter(pk=entries[1].pk).update(**change)

    assert list(audit.chain_breaks()) == [
        (entries[1].pk, "its content was changed after it was written")
    ]


def test_removed_entry_is_found():
    entries = _three()
    entries[1].delete()

    assert [pk for pk, _ in audit.chain_breaks()] == [entries[2].pk]


@pytest.mark.django_db(transaction=True)
def test_writers_at_once_make_one_chain():
    if connection.vendor == "sqlite" and connection.is_in_memory_db():
        pytest.skip("threads share one in-memory connection; PostgreSQL tries this")

    def write(number):
        try:
            audit.record(actor=None, action="act", object_type="thing", object_id=number)
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(40)))

    assert AuditEntry.objects.count() == 40
    assert list(audit.chain_breaks()) == []
