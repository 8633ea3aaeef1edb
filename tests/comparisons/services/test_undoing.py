"""A second opinion is taken back by the one who gave it, and chosen anew; nobody else gets its item between."""

from datetime import timedelta

import pytest
from django.utils import timezone

from comparisons.models import Comparison
from comparisons.queries.opinions import undoable_opinion
from comparisons.services import judging, opinions, paying, undoing, withdrawal
from tests.comparisons.services.test_opinions import judge, judged_turn
from tests.comparisons.talking import agreed_person, live_campaign

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("bell")]


@pytest.fixture
def campaign():
    return live_campaign(second_opinion_percent=100)


@pytest.fixture
def person(campaign):
    judged_turn(campaign)
    judged_turn(campaign)
    return agreed_person(campaign)


def test_the_pair_comes_back_before_the_one_that_followed(campaign, person):
    first = opinions.take(person)
    given = judge(first)
    following = opinions.take(person)
    assert following != first

    undoing.undo_opinion(given)

    assert opinions.take(person) == first
    again = judge(opinions.take(person))
    assert opinions.take(person) == following
    given.refresh_from_db()
    assert given.superseded_at
    assert Comparison.objects.filter(turn=first.turn, crowdworker=person).count() == 2
    assert list(person.undos.values_list("comparison", flat=True)) == [given.pk]
    assert undoable_opinion(person) == again


def test_while_it_is_chosen_anew_nobody_else_gets_it(campaign, person):
    other = agreed_person(campaign)
    first = opinions.take(person)
    given = judge(first)
    opinions.take(person)  # the other pair

    undoing.undo_opinion(given)

    assert opinions.take(other) is None


def test_once_only_and_within_the_window(campaign, person):
    given = judge(opinions.take(person))
    undoing.undo_opinion(given)
    with pytest.raises(judging.UndoOver, match="before"):
        undoing.undo_opinion(given)

    late = judge(opinions.take(person))
    late.created_at = timezone.now() - timedelta(seconds=campaign.undo_seconds + 1)
    late.save()
    assert undoable_opinion(person) is None
    with pytest.raises(judging.UndoOver, match="time"):
        undoing.undo_opinion(late)


def test_what_was_handed_in_for_pay_stands(campaign, person):
    given = judge(opinions.take(person))
    paying.hand_in(campaign)

    assert undoable_opinion(person) is None
    with pytest.raises(judging.UndoOver, match="pay"):
        undoing.undo_opinion(given)
    given.refresh_from_db()
    assert given.superseded_at is None


def test_nothing_is_given_back_to_one_who_withdrew(campaign, person):
    given = judge(opinions.take(person))
    withdrawal.withdraw(person)

    with pytest.raises(judging.UndoOver):
        undoing.undo_opinion(given)
    given.refresh_from_db()
    assert given.superseded_at is None


def test_a_pair_whose_lease_ran_out_after_the_undo_waits_for_another(campaign, person):
    first = opinions.take(person)
    undoing.undo_opinion(judge(first))
    type(first).objects.filter(pk=first.pk).update(lease_until=timezone.now() - timedelta(hours=1))

    assert opinions.release_overdue() == 1
    waiting = type(first).objects.filter(crowdworker=None, replaced_at=None)
    assert waiting.filter(turn=first.turn).count() == 1
