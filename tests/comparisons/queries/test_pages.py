"""Pages by keys: every row once, in order, both ways, whatever is added meanwhile."""

import re
from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils.timezone import now

from comparisons.models import Comparison, DatasetRelease, Flag
from comparisons.queries.crowd import people
from comparisons.queries.pages import page_of
from comparisons.web import manage_crowd_views, manage_release_views
from tests.comparisons.making import (
    make_account,
    make_comparison,
    make_conversation,
    make_crowdworker,
)

pytestmark = pytest.mark.django_db

SIZE = 2


def chose(pseudonym: str, *, hours_ago: int):
    """Somebody whose last choice is that old."""
    person = make_crowdworker(pseudonym=pseudonym)
    made = make_comparison(make_conversation(crowdworker=person))
    at = now() - timedelta(hours=hours_ago)
    Comparison.objects.filter(pk=made.pk).update(created_at=at)
    return person


def crowd_page(**asked):
    return page_of(people(), asked=asked, size=SIZE, at="at")


def names(page) -> list[str]:
    return [person.pseudonym for person in page.rows]


def test_the_crowd_is_read_to_its_end_and_back_by_last_choice():
    never = [make_crowdworker(pseudonym=f"never-{i}") for i in range(2)]
    chose("older", hours_ago=9)
    chose("newest", hours_ago=1)
    chose("middle", hours_ago=5)

    first = crowd_page()
    second = crowd_page(before=first.older)
    last = crowd_page(before=second.older)

    assert [names(page) for page in (first, second, last)] == [
        ["newest", "middle"], ["older", never[1].pseudonym], [never[0].pseudonym],
    ]  # fmt: skip
    assert (first.newer, last.older) == ("", "")
    back = crowd_page(after=last.newer)
    assert names(back) == names(second)
    assert names(crowd_page(after=back.newer)) == names(first)


def test_somebody_who_chooses_meanwhile_moves_nobody_else():
    moving, *_ = [chose(f"p-{hours}", hours_ago=hours) for hours in (4, 3, 2, 1)]
    first = crowd_page()

    Comparison.objects.filter(crowdworker=moving).update(created_at=now())

    assert names(first) == ["p-1", "p-2"]
    assert names(crowd_page(before=first.older)) == ["p-3"]
    assert names(crowd_page()) == ["p-4", "p-1"]


@pytest.mark.parametrize(
    "asked", ["", "x", "7", "1-", "-1", "9" * 40, "99999999999999999-1", "0-0"]
)
def test_what_names_no_row_shows_the_first_page(asked):
    chose("only", hours_ago=1)

    assert names(crowd_page(before=asked)) == ["only"]
    assert names(crowd_page(after=asked)) == ["only"]


def test_flags_are_read_oldest_first():
    turn = make_comparison(make_conversation()).turn
    flags = [
        Flag.objects.create(turn=turn, crowdworker=make_crowdworker(), kind=Flag.Kind.OTHER)
        for _ in range(5)
    ]

    def page(**asked):
        return page_of(Flag.objects.all(), asked=asked, size=SIZE, is_oldest_first=True)

    second = page(after=page().newer)
    third = page(after=second.newer)

    assert [second.rows, third.rows] == [flags[2:4], flags[4:]]
    assert page(before=third.older).rows == second.rows
    assert page(before=second.older).rows == flags[:2]


@pytest.fixture
def long_lists(monkeypatch):
    """Three pages of people, flags and releases."""
    for views in (manage_crowd_views, manage_release_views):
        monkeypatch.setattr(views, "PAGE", SIZE)
    for i in range(5):
        conversation = make_conversation(crowdworker=make_crowdworker(pseudonym=f"row-{i}"))
        turn = make_comparison(conversation).turn
        Flag.objects.create(turn=turn, crowdworker=conversation.crowdworker, kind=Flag.Kind.OTHER)
        DatasetRelease.objects.create(name=f"row-{i}")


@pytest.mark.parametrize(
    ("place", "way"),
    [("manage_crowd", "Older"), ("manage_quality", "Newer"), ("manage_releases", "Older")],
)
def test_staff_reach_every_row_of_a_long_list(client, long_lists, place, way):
    client.force_login(make_account("administrator"))
    asked, seen = "?q=row", []

    while asked:
        answer = client.get(reverse(place) + asked)
        seen += [row.pk for row in answer.context["page"].rows]
        link = re.search(rf'href="([^"]+)">{way}</a>', answer.content.decode())
        asked = link[1].replace("&amp;", "&") if link else ""
        assert not link or asked.startswith("?q=row&")

    assert len(seen) == len(set(seen)) == 5
