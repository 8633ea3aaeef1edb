"""What is here already is known by what it says, under whatever labels it came in."""

import json

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from comparisons.models import Comparison
from comparisons.queries.imports import newest_comparison, repeating_imports
from comparisons.services.importing import import_hh, import_lines

pytestmark = pytest.mark.django_db

DIALOGUE = "\n\nHuman: Hi\n\nAssistant: Hello\n\nHuman: Tea?\n\nAssistant: "


def lines(*replies: tuple[str, str], dialogue: str = DIALOGUE) -> list[str]:
    return [json.dumps({"chosen": dialogue + a, "rejected": dialogue + b}) for a, b in replies]


def _looks(queries: CaptureQueriesContext) -> int:
    return sum(
        query["sql"].startswith("SELECT") and "first_message_sha256" in query["sql"]
        for query in queries.captured_queries
    )


BOTH = lines(("Green.", "No."), ("Black.", "No."))


@pytest.mark.parametrize(
    "labels",
    [
        {"objective": "helpful", "tranche": "online"},
        {"objective": "harmless", "tranche": "base"},
    ],
    ids=str,
)
def test_the_same_file_under_other_labels_is_told(labels):
    import_hh(BOTH[:1], objective="helpful", tranche="base", source="right")

    report = import_hh(BOTH, **labels, source="wrong")

    assert (report.imported, report.already_elsewhere) == (2, 1)
    assert [entry.detail for entry in repeating_imports()] == [
        {"source": "wrong", "imported": 2, "already_elsewhere": 1}
    ]


def test_the_same_pair_in_another_format_is_told():
    import_hh(BOTH, objective="helpful", tranche="base")
    row = {
        "comparison": "2f1b6f7e-1111-4222-8333-444455556666",
        "messages": [
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "Hello"},
            {"role": "user", "content": "Tea?"},
        ],
        "picked": "Green.",
        "other": "No.",
        "question": "more_helpful",
        "objective": "helpful",
    }
    arguments = {"reader": "rich", "objective": "helpful", "tranche": "base"}

    same = import_lines([(1, json.dumps(row))], **arguments)
    row |= {"picked": "No.", "other": "Green."}
    del row["comparison"]
    disagrees = import_lines([(1, json.dumps(row))], **arguments)

    assert (same.imported, same.already_elsewhere) == (1, 1)
    assert (disagrees.imported, disagrees.already_elsewhere) == (1, 0)


def test_another_dialogue_or_reply_is_another_pair():
    import_hh(BOTH, objective="helpful", tranche="base")
    other_middle = DIALOGUE.replace("Hello", "What?")
    other_first = DIALOGUE.replace("Hi", "Hey")
    others = [
        *lines(("Green.", "No."), dialogue=other_middle),
        *lines(("Green.", "No."), dialogue=other_first),
        *lines(("Green.", "Never.")),
    ]

    report = import_hh(others, objective="helpful", tranche="online")

    assert (report.imported, report.already_elsewhere) == (3, 0)
    assert not repeating_imports()


def test_a_batch_is_looked_up_once_and_a_first_import_not_at_all():
    assert newest_comparison() == 0
    first = lines(*[(f"Green {i}.", "No.") for i in range(50)])

    with CaptureQueriesContext(connection) as at_first:
        import_hh(first, objective="helpful", tranche="base")
    with CaptureQueriesContext(connection) as again:
        report = import_hh(first, objective="helpful", tranche="online")

    looks = [_looks(queries) for queries in (at_first, again)]
    assert looks == [0, 1]
    assert report.already_elsewhere == 50
    assert newest_comparison() == Comparison.objects.latest("pk").pk
