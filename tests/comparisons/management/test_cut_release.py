"""What cut_release is told to leave out, and what it says of what is in."""

import json

import pytest
from django.core.management import CommandError, call_command

from comparisons.models import DatasetRelease
from comparisons.services.importing import import_hh
from comparisons.services.releasing import directory_of
from modelserving.core.artifacts import read_manifest
from tests.comparisons.making import make_comparison, make_conversation

pytestmark = pytest.mark.django_db

PAIR = json.dumps(
    {"chosen": "\n\nHuman: Hi\n\nAssistant: a", "rejected": "\n\nHuman: Hi\n\nAssistant: b"}
)


@pytest.fixture
def twice():
    """One of our own, and one pair that came in under two tranches."""
    make_comparison(make_conversation(), picked="ours")
    import_hh([PAIR], objective="helpful", tranche="base", source="pairs.jsonl")
    import_hh([PAIR], objective="helpful", tranche="online", source="pairs.jsonl")


def test_a_source_stays_out_and_the_manifest_says_so(twice, capsys):
    call_command("cut_release", "r-1", "--without-source", "pairs.jsonl@helpful/online")

    release = DatasetRelease.objects.get()
    said = capsys.readouterr().out
    assert release.counts["train"] + release.counts["test"] == 2
    assert "left out, of a source that was left out: 1" in said
    written = read_manifest(directory_of(release)).config["filters"]
    assert written == release.filters
    assert written["without_sources"] == ["pairs.jsonl@helpful/online"]


def test_several_sources_stay_out(twice):
    import_hh([PAIR], objective="harmless", tranche="base", source="other.jsonl")

    call_command(
        "cut_release", "r-1", "--without-source", "pairs.jsonl", "--without-source", "other.jsonl"
    )

    assert DatasetRelease.objects.get().counts["left_out"] == {"source": 3}


def test_a_source_that_is_none_is_refused(twice):
    with pytest.raises(CommandError, match=r"nothing was imported from 'pears\.jsonl'"):
        call_command("cut_release", "r-1", "--without-source", "pears.jsonl")

    assert not DatasetRelease.objects.exists()
