"""Rows that were set aside before their cause was kept: it is read from what is known of them."""

from importlib import import_module

import pytest
from django.apps import apps
from django.db import connection
from django.utils.timezone import now

from comparisons.models import AuditEntry, Comparison, Flag, Response
from comparisons.services import quality
from comparisons.services.releasing import cut_release
from tests.comparisons.making import (
    make_account,
    make_comparison,
    make_conversation,
    make_crowdworker,
)

pytestmark = pytest.mark.django_db
NOTE = import_module("comparisons.migrations.0011_set_aside_cause").note_causes


def old(*, message: str, conversation=None, **values) -> Comparison:
    """A row as the code before left it."""
    values = {"set_aside_at": now(), "set_aside_reason": "why", **values}
    return make_comparison(conversation or make_conversation(), message=message, **values)


def test_the_cause_of_rows_from_before_is_read_from_what_is_known_of_them():
    flagged = make_conversation()
    old(message="before it", conversation=flagged, set_aside_at=None)
    about = old(message="about", conversation=flagged, set_aside_at=None)
    release = cut_release("r-1", test_percent=0)
    flag = Flag.objects.create(turn=about.turn, crowdworker=flagged.crowdworker, kind="other")
    quality.set_aside_flagged(flag, reason="a number", actor=make_account("administrator"))
    assert AuditEntry.objects.get(action="flag.set_aside").object_id == str(flag.pk)
    Comparison.objects.filter(pk=about.pk).update(set_aside_at=None, set_aside_reason="")
    Comparison.objects.update(set_aside_cause="")
    release.stale_at = None
    release.save(update_fields=["stale_at"])
    old(message="the person's")
    left = make_crowdworker(standing="withdrawn")
    old(message="withdrawn", conversation=make_conversation(crowdworker=left))
    old(message="deleted", conversation=make_conversation(is_withdrawn=True))
    of_a_writer = old(message="of a writer")
    Response.objects.filter(pk=of_a_writer.other_id).update(author=left)

    NOTE(apps, connection.schema_editor())

    release.refresh_from_db()
    about.refresh_from_db()
    assert dict(Comparison.objects.values_list("turn__message", "set_aside_cause")) == {
        "before it": "",
        "about": "flag",
        "the person's": "person",
        "withdrawn": "withdrawn",
        "deleted": "withdrawn",
        "of a writer": "withdrawn",
    }
    assert (about.set_aside_at is None, about.set_aside_reason) == (False, "a number")
    assert release.stale_at is not None
