"""Pages of staff read what they show and not all that ever was: by range, by the newest choices, by the person asked for."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils.timezone import now

from comparisons.models import Comparison
from comparisons.queries import quality
from comparisons.queries.dashboard import campaigns_today, comparisons_by_day
from tests.comparisons.making import (
    make_account,
    make_campaign,
    make_comparison,
    make_conversation,
    make_crowdworker,
    make_deployment,
)

pytestmark = pytest.mark.django_db


def chosen(person, *, times: int, side: str = "A", **values) -> None:
    conversation = make_conversation(crowdworker=person)
    for _each in range(times):
        make_comparison(conversation, side=side, **values)


def test_habits_are_looked_for_in_the_newest_choices(monkeypatch):
    monkeypatch.setattr(quality, "CHOICES_LOOKED_AT", 60, raising=False)
    earlier, lately = make_crowdworker(), make_crowdworker()
    chosen(earlier, times=40)
    chosen(lately, times=30)
    chosen(make_crowdworker(), times=15, side="A")
    chosen(make_crowdworker(), times=15, side="B")

    found = [
        (signal.crowdworker, signal.n) for signal in quality.signals() if signal.kind == "side"
    ]

    assert found == [(lately, 30)]
    assert quality.people_looked_at() == 1


def test_the_signals_of_one_person_are_looked_for_in_that_persons_choices():
    one, two = make_crowdworker(), make_crowdworker()
    for person in (one, two):
        chosen(person, times=30, active_milliseconds=0)

    found = quality.signals(one)

    assert {(signal.crowdworker, signal.kind) for signal in found} == {(one, "side"), (one, "fast")}


def test_who_reads_as_fast_as_anybody_can_is_no_signal():
    careful, fast = make_crowdworker(), make_crowdworker()
    words = "x" * 600  # both responses: 1,200 characters, 10 s at 120 a second
    chosen(careful, times=30, picked=words, other=words + ".", active_milliseconds=10_100)
    chosen(fast, times=30, picked=words, other=words + ".", active_milliseconds=9_900)

    found = [signal.crowdworker for signal in quality.signals() if signal.kind == "fast"]

    assert found == [fast]


def test_no_day_is_made_of_every_rows_time():
    """SQLite asks Python for the day of each row it is to filter by day."""
    campaign = make_campaign()
    make_comparison(make_conversation(campaign=campaign), strength=1, active_milliseconds=1_800_000)
    make_comparison(make_conversation(campaign=campaign), active_milliseconds=1_800_000)
    before = make_comparison(make_conversation(campaign=campaign))
    long_ago = make_comparison(make_conversation(campaign=campaign))
    Comparison.objects.filter(pk=before.pk).update(created_at=now() - timedelta(days=2))
    Comparison.objects.filter(pk=long_ago.pk).update(created_at=now() - timedelta(days=40))

    with CaptureQueriesContext(
        connection,
    ) as asked:
        (row,) = [each for each in campaigns_today() if each.campaign == campaign]
        days = comparisons_by_day()

    assert (row.comparisons, row.total, row.hours, row.kept) == (2, 4, 1.0, 1)
    assert (row.days[-1], row.days[-3], sum(row.days)) == (2, 1, 3)
    assert sum(day.total for day in days) == 3
    for query in asked:
        assert (
            "django_datetime_cast_date" not in query["sql"].split(" WHERE ")[-1].split(" GROUP ")[0]
        )
        assert query["sql"].count("django_datetime_cast_date") <= 2  # the day that is grouped by


def test_what_leaving_a_person_out_would_move_is_counted_when_it_is_asked_for(client):
    client.force_login(make_account("administrator"))
    old, new, person = make_deployment("old"), make_deployment("new"), make_crowdworker()
    for _each in range(6):
        make_comparison(make_conversation(crowdworker=person), picked_by=new, other_by=old)
        make_comparison(make_conversation(), picked_by=old, other_by=new)
        make_comparison(make_conversation(), picked_by=new, other_by=old)
    address = reverse("manage_person", args=[person.public_id])

    page, asked = client.get(address), client.get(f"{address}?effect=1")

    assert "?effect=1" in page.content.decode()
    assert page.context["shifts"] == []
    assert [shift.deployment for shift in asked.context["shifts"]] == [new]
    assert f"Leaving {person.pseudonym} out moves" in asked.content.decode()
