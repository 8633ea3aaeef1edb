"""The pages of releases: what is left out and what stands twice."""

import json

import pytest
from django.urls import reverse

from comparisons.models import DatasetRelease
from comparisons.services.importing import import_hh
from comparisons.services.releasing import take_up_waiting

PAIR = json.dumps(
    {"chosen": "\n\nHuman: Hi\n\nAssistant: a", "rejected": "\n\nHuman: Hi\n\nAssistant: b"}
)


@pytest.fixture
def twice(db):
    """One pair under two tranches."""
    import_hh([PAIR], objective="helpful", tranche="base", source="<pairs>.jsonl")
    import_hh([PAIR], objective="helpful", tranche="online", source="<pairs>.jsonl")


def test_a_ticked_import_stays_out(staff, twice):
    form = staff.get(reverse("manage_release_new")).content.decode()
    wrong = "<pairs>.jsonl@helpful/online"
    fields = {"name": "r-1", "test_percent": "0", "without_sources": wrong}
    live = staff.get(reverse("manage_release_counts"), fields).content.decode()

    assert staff.post(reverse("manage_release_new"), fields).status_code == 302
    take_up_waiting()

    assert 'value="&lt;pairs&gt;.jsonl@helpful/online"' in form
    assert "<b>1</b> of 2 comparisons" in live
    release = DatasetRelease.objects.get()
    assert (release.filters["without_sources"], release.counts["train"]) == ([wrong], 1)
    page = staff.get(reverse("manage_release", args=["r-1"])).content.decode()
    assert '<dd dir="auto">&lt;pairs&gt;.jsonl@helpful/online</dd>' in page


def test_an_import_that_is_none_is_refused(staff, twice):
    fields = {"name": "r-1", "test_percent": "0", "without_sources": "pears.jsonl"}

    assert staff.post(reverse("manage_release_new"), fields).status_code == 200

    assert not DatasetRelease.objects.exists()
