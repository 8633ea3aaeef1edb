"""What migrations make of rows from before: causes read from what is known, doubles merged."""

from collections.abc import Callable, Iterator
from importlib import import_module

import pytest
from django.apps import apps
from django.apps.registry import Apps
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.utils.timezone import now

from comparisons.models import (
    Arrival,
    Assignment,
    AuditEntry,
    Campaign,
    Comparison,
    Flag,
    Response,
)
from comparisons.services import quality
from comparisons.services.releasing import cut_release
from tests.comparisons.arriving import make_source
from tests.comparisons.making import (
    make_account,
    make_campaign,
    make_comparison,
    make_conversation,
    make_crowdworker,
)

PLATFORMS = ("prolific", "mturk", "external")
NOTE = import_module("comparisons.migrations.0011_set_aside_cause").note_causes
FORGET = import_module("comparisons.migrations.0022_failures_without_words").forget_words


def old(*, message: str, conversation=None, **values) -> Comparison:
    """A row as the code before left it."""
    values = {"set_aside_at": now(), "set_aside_reason": "why", **values}
    return make_comparison(conversation or make_conversation(), message=message, **values)


@pytest.fixture
def as_before(transactional_db) -> Iterator[Callable[[str], Apps]]:
    """Take the database back to before a migration; it is brought forward again at the end."""

    def go_to(name: str) -> Apps:
        target = [("comparisons", name)]
        MigrationExecutor(connection).migrate(target)
        return MigrationExecutor(connection).loader.project_state(target).apps

    yield go_to
    forward()


def forward() -> None:
    executor = MigrationExecutor(connection)
    executor.migrate(executor.loader.graph.leaf_nodes())


def test_doubled_flags_become_one_with_every_note(as_before):
    turn = make_comparison(make_conversation()).turn
    person = turn.conversation.crowdworker
    old_flag = as_before("0011_set_aside_cause").get_model("comparisons", "Flag")
    same = {"turn_id": turn.pk, "crowdworker_id": person.pk, "kind": "other"}
    for values in ({"note": "One"}, {"note": "Two"}, {"note": "One"}, {"resolved_at": now()}):
        old_flag.objects.create(**same, **values)
    old_flag.objects.create(**same | {"kind": "upsetting"}, note="Three")

    forward()

    flags = Flag.objects.order_by("pk")
    assert [(each.kind, each.note, each.resolved_at is None) for each in flags] == [
        ("other", "One\nTwo", True),
        ("other", "", False),
        ("upsetting", "Three", True),
    ]


def test_campaigns_that_paid_less_than_nothing_or_kept_no_time_are_mended(as_before):
    fine, odd = make_campaign(pay_amount="7.50", lease_minutes=30), make_campaign()
    campaigns = as_before("0013_counted_time").get_model("comparisons", "Campaign").objects
    campaigns.filter(pk=odd.pk).update(pay_amount="-5.00", lease_minutes=0)

    forward()

    kept = {each.pk: (str(each.pay_amount), each.lease_minutes) for each in Campaign.objects.all()}
    assert kept == {fine.pk: ("7.50", 30), odd.pk: ("0.00", 120)}


@pytest.mark.django_db(transaction=True)
def test_of_several_assignments_of_one_submission_one_stands_for_it(as_before):
    sources = {each: make_source(make_campaign(), platform=each) for each in PLATFORMS}
    kept = {}
    for label, platform, study, submission, state in (
        ("given back", "prolific", "s1", "7", "returned"), ("first", "prolific", "s2", "7", "paid"),
        ("second", "prolific", "s3", "7", "preview"), ("of MTurk", "mturk", "s1", "70", "work"),
        ("elsewhere", "external", "s1", "8", "work"), ("the same", "external", "s4", "8", "work"),
    ):  # fmt: skip
        assignment = Assignment.objects.create(
            crowdworker=make_crowdworker(), campaign=sources[platform].campaign, state=state,
            external_study_id=study, external_submission_id=submission,
        )  # fmt: skip
        Arrival.objects.create(source=sources[platform], assignment=assignment)
        kept[label] = assignment.pk
    as_before("0019_conversations_finished")

    forward()

    platforms = dict(Assignment.objects.values_list("pk", "external_platform"))
    assert {label: platforms[pk] for label, pk in kept.items()} == {
        "given back": "", "first": "prolific", "second": "", "of MTurk": "mturk",
        "elsewhere": "external", "the same": "external",
    }  # fmt: skip


@pytest.mark.django_db(transaction=True)
def test_flags_that_something_was_set_aside_for_are_heeded_from_then_on(as_before):
    about = make_comparison(make_conversation(), message="about")
    flags = [
        Flag.objects.create(turn=about.turn, crowdworker=about.crowdworker, kind=kind)
        for kind in ("personal_data", "other")
    ]
    quality.set_aside_flagged(flags[0], reason="a number", actor=make_account("administrator"))
    as_before("0016_invitations_without_campaign")

    forward()

    heeded = {each.kind: each.is_heeded for each in Flag.objects.all()}
    assert heeded == {"personal_data": True, "other": False}


@pytest.mark.django_db
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


@pytest.mark.django_db
def test_what_endpoints_said_is_forgotten_and_what_we_said_stays():
    comparison = make_comparison(make_conversation())
    said = {comparison.picked_id: "not this: canary", comparison.other_id: "the reply is empty"}
    for response, words in said.items():
        Response.objects.filter(pk=response).update(failure=words)

    FORGET(apps, connection.schema_editor())

    assert dict(Response.objects.values_list("pk", "failure")) == {
        comparison.picked_id: "",
        comparison.other_id: "the reply is empty",
    }
