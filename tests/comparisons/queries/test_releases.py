"""Which imports a release takes in: all, or all but the sources that are named."""

import json

import pytest

from comparisons.queries.imports import sources_by_label
from comparisons.queries.releases import ReleaseFilters, kept_rows, release_counts
from comparisons.services.importing import import_hh
from tests.comparisons.making import make_comparison, make_conversation

pytestmark = pytest.mark.django_db


def line(reply: str) -> str:
    texts = [f"\n\nHuman: Hi\n\nAssistant: {each}" for each in (reply, "b")]
    return json.dumps({"chosen": texts[0], "rejected": texts[1]})


@pytest.fixture
def imported():
    """One of our own, one file that came in under two tranches, and one without a name."""
    make_comparison(make_conversation(), picked="ours")
    import_hh([line("file")], objective="helpful", tranche="base", source="a@b.jsonl")
    import_hh([line("file")], objective="helpful", tranche="online", source="a@b.jsonl")
    import_hh([line("unnamed")], objective="harmless", tranche="base")


@pytest.mark.parametrize(
    ("without", "kept"),
    [
        ((), [("ours", "base"), ("file", "base"), ("file", "online"), ("unnamed", "base")]),
        (("a@b.jsonl",), [("ours", "base"), ("unnamed", "base")]),
        (
            ("a@b.jsonl@helpful/online",),
            [("ours", "base"), ("file", "base"), ("unnamed", "base")],
        ),
        (("",), [("ours", "base"), ("file", "base"), ("file", "online")]),
        (("a@b.jsonl", "@harmless/base"), [("ours", "base")]),
        (("a",), [("ours", "base"), ("file", "base"), ("file", "online"), ("unnamed", "base")]),
    ],
    ids=str,
)
def test_a_source_is_left_out_whole_or_under_one_label(imported, without, kept):
    filters = ReleaseFilters(without_sources=without)

    assert [(row.picked, row.tranche) for _key, row in kept_rows(filters)] == kept
    counts = release_counts(filters)
    assert (counts.total, counts.kept) == (4, len(kept))
    assert [reason for reason, _words, _count in counts.left_out] == ["source"] * (len(kept) < 4)
    assert ReleaseFilters.from_dict(filters.to_dict()).to_dict() == filters.to_dict()


def test_every_source_is_named_with_its_labels_and_count(imported):
    assert sources_by_label() == [
        ("@harmless/base", "not named, harmless base: 1"),
        ("a@b.jsonl@helpful/base", "a@b.jsonl, helpful base: 1"),
        ("a@b.jsonl@helpful/online", "a@b.jsonl, helpful online: 1"),
    ]
