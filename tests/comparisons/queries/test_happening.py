"""What goes on now: who is at work, what is held until when, and what waits."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils.timezone import now

from comparisons.models import Assignment, Comparison, Response, Showing, Turn, WantedReply
from comparisons.queries.happening import happening_now
from tests.comparisons.making import (
    make_campaign,
    make_comparison,
    make_conversation,
    make_crowdworker,
    make_response,
)

pytestmark = pytest.mark.django_db
SOON, BEFORE = timedelta(minutes=1), -timedelta(minutes=1)


def worked(*, chose_minutes_ago: int, wrote_minutes_ago: int) -> None:
    """Somebody who wrote two messages and chose twice."""
    conversation = make_conversation()
    for message in ("One", "Two"):
        comparison = make_comparison(conversation, message=message)
        at = {"created_at": now() - timedelta(minutes=chose_minutes_ago)}
        Comparison.objects.filter(pk=comparison.pk).update(**at)
        at = {"created_at": now() - timedelta(minutes=wrote_minutes_ago)}
        Turn.objects.filter(pk=comparison.turn_id).update(**at)


def make_turn(*, ends: timedelta | None = None, state: str = "generating") -> Turn:
    return Turn.objects.create(
        conversation=make_conversation(), index=0, message="Hello", message_sha256="0" * 64,
        state=state, lease_until=None if ends is None else now() + ends,
    )  # fmt: skip


def take(ends: timedelta, *, state: str = "work") -> None:
    """An assignment on a lease."""
    Assignment.objects.create(
        crowdworker=make_crowdworker(), campaign=make_campaign(), state=state,
        lease_until=now() + ends,
    )  # fmt: skip


def hold_opinion(ends: timedelta, **values) -> Showing:
    """A second opinion on a lease."""
    comparison = make_comparison(make_conversation())
    return Showing.objects.create(
        turn=comparison.turn, crowdworker=make_crowdworker(), purpose="second_opinion",
        side_a=comparison.picked, side_b=comparison.other, lease_until=now() + ends, **values,
    )  # fmt: skip


def hold_reply(ends: timedelta, *, is_written: bool = False) -> None:
    """A wanted reply on a lease."""
    turn, person = make_turn(state="chosen"), make_crowdworker()
    WantedReply.objects.create(
        turn=turn, crowdworker=person, lease_until=now() + ends,
        response=make_response(turn, text="Mine.", author=person) if is_written else None,
    )  # fmt: skip


def test_people_at_work_chose_or_wrote_in_the_last_minutes():
    worked(chose_minutes_ago=1, wrote_minutes_ago=1)
    worked(chose_minutes_ago=60, wrote_minutes_ago=1)
    worked(chose_minutes_ago=1, wrote_minutes_ago=60)
    worked(chose_minutes_ago=60, wrote_minutes_ago=60)

    assert happening_now().people == 3


def test_counting_people_never_multiplies_their_choices_by_their_turns():
    with CaptureQueriesContext(connection) as asked:
        happening_now()

    of_people = [each["sql"] for each in asked if "EXISTS" in each["sql"]]
    of_people = [each for each in of_people if 'FROM "comparisons_crowdworker"' in each]
    assert len(of_people) == 1
    assert of_people[0].count("EXISTS") == 2
    assert "OUTER JOIN" not in of_people[0]
    assert len(asked) == 7


def test_a_turn_that_is_to_be_written_waits_in_the_queue_without_a_lease():
    for _each in range(2):
        make_turn(ends=SOON)
    for _each in range(3):
        make_turn()
    make_turn(ends=BEFORE)  # its writer is gone: it waits again
    for state in ("ready", "failed"):
        make_turn(state=state)

    seen = happening_now()

    assert (seen.writing, seen.queue, seen.leases, seen.late) == (6, 4, 3, 1)


def test_leases_are_everything_that_is_held_until_a_time():
    take(SOON)
    take(BEFORE, state="consent")
    take(BEFORE, state="submitted")  # over
    hold_opinion(SOON)
    hold_opinion(BEFORE)
    hold_opinion(BEFORE, judged_at=now())
    hold_opinion(BEFORE, replaced_at=now())
    hold_reply(SOON)
    hold_reply(BEFORE)
    hold_reply(BEFORE, is_written=True)
    make_turn(ends=SOON)

    seen = happening_now()

    assert (seen.leases, seen.late) == (7, 3)


def test_an_opinion_whose_choice_older_code_stored_is_held_no_more():
    showing = hold_opinion(BEFORE)
    Comparison.objects.create(
        showing=showing, turn=showing.turn, crowdworker=showing.crowdworker,
        picked=showing.side_a, other=showing.side_b, side="A", strength=2,
        question="more_helpful", objective="helpful",
    )  # fmt: skip

    assert happening_now().leases == 0


def test_the_wait_for_the_first_word_has_its_n():
    assert (happening_now().first_word_p95, happening_now().first_words) == (None, 0)
    turn = make_turn(state="ready")
    for milliseconds in range(100, 2100, 100):
        made = make_response(turn, text="Yes.", first_token_milliseconds=milliseconds)
        Response.objects.filter(pk=made.pk).update(completed_at=now())

    seen = happening_now()

    assert (seen.first_word_p95, seen.first_words) == (2000, 20)
