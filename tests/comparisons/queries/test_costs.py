"""What a comparison of today costs: finished conversations and second opinions, by the rules they are paid by."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils.timezone import now

from comparisons.models import Assignment, Comparison, Conversation, Showing
from comparisons.queries.costs import costs_today
from tests.comparisons.making import (
    make_campaign,
    make_comparison,
    make_conversation,
    make_crowdworker,
)

pytestmark = pytest.mark.django_db
BY_THE_FIVE = {"amount": "20.00", "currency": "USD", "per": "assignment"}
BY_THE_HOUR = {"amount": "24.00", "currency": "USD", "per": "hour"}


def finished(campaign, *, rule: dict[str, str], choices: int = 4, state: str = "work", **values):
    """A conversation that ended just now, with its choices."""
    person = make_crowdworker()
    held = Assignment.objects.create(
        crowdworker=person, campaign=campaign, pay_rule=rule, state=state
    )
    values = {"state": "finished", "finished_at": now(), **values}
    made = make_conversation(crowdworker=person, campaign=campaign, assignment=held, **values)
    for number in range(choices):
        make_comparison(made, message=f"Message {number}")
    return made


def opinion(comparison, *, crowdworker=None) -> None:
    """Somebody else judges the two responses too."""
    person = crowdworker or make_crowdworker()
    showing = Showing.objects.create(
        turn=comparison.turn, crowdworker=person, purpose="second_opinion",
        side_a=comparison.picked, side_b=comparison.other, judged_at=now(),
    )  # fmt: skip
    Comparison.objects.create(
        showing=showing, turn=comparison.turn, crowdworker=person, picked=comparison.picked,
        other=comparison.other, side="A", strength=2, question=comparison.question,
        objective=comparison.objective,
    )  # fmt: skip


def texts(campaign) -> list[str]:
    return [each.text for each in costs_today().get(campaign.pk, ())]


def test_a_conversation_of_five_costs_a_fifth_shared_by_its_choices():
    campaign = make_campaign()
    finished(campaign, rule=BY_THE_FIVE)  # 4.00 for 4 choices
    finished(campaign, rule=BY_THE_FIVE, choices=1)  # 4.00 for one

    (cost,) = costs_today()[campaign.pk]

    assert (cost.amount, cost.currency, cost.n) == (Decimal("8.00"), "USD", 5)
    assert cost.text == "1.60 USD, n 5"


def test_work_by_the_hour_costs_the_time_of_the_conversation():
    campaign = make_campaign()
    finished(campaign, rule=BY_THE_HOUR, active_milliseconds=600_000)  # 4.00

    assert texts(campaign) == ["1.00 USD, n 4"]


def test_a_second_opinion_costs_its_rate():
    campaign = make_campaign(opinion_pay="0.125")
    first, second = finished(campaign, rule=BY_THE_FIVE, choices=2).turns.all()
    opinion(first.continued_by)
    opinion(second.continued_by)

    assert texts(campaign) == ["1.06 USD, n 4"]  # 4.25 for 4
    Conversation.objects.update(finished_at=now() - timedelta(days=2))
    assert texts(campaign) == ["0.13 USD, n 2"]


def test_currencies_are_never_added_up():
    campaign = make_campaign(opinion_pay="0.050", pay_currency="EUR")
    turn = finished(campaign, rule=BY_THE_FIVE).turns.first()
    opinion(turn.continued_by)

    assert texts(campaign) == ["0.050 EUR, n 1", "1.00 USD, n 4"]


def test_what_is_open_given_back_simulated_or_without_a_choice_has_no_cost_each():
    campaign, silent = make_campaign(opinion_pay="0.10"), make_campaign()
    finished(campaign, rule=BY_THE_FIVE, finished_at=None)
    finished(campaign, rule=BY_THE_FIVE, finished_at=now() - timedelta(days=1))
    finished(campaign, rule=BY_THE_FIVE, state="returned")
    simulated = finished(campaign, rule=BY_THE_FIVE, origin="simulated")
    Comparison.objects.filter(turn__conversation=simulated).update(origin="simulated")
    undone = finished(campaign, rule=BY_THE_FIVE, finished_at=None).turns.first().continued_by
    opinion(undone)
    Comparison.objects.filter(turn=undone.turn).update(superseded_at=now())
    finished(silent, rule=BY_THE_FIVE, choices=0)

    assert costs_today() == {}


def test_costs_take_two_questions_however_much_was_done():
    campaign = make_campaign(opinion_pay="0.10")
    for _each in range(3):
        opinion(finished(campaign, rule=BY_THE_FIVE).turns.first().continued_by)

    with CaptureQueriesContext(connection) as asked:
        (cost,) = costs_today()[campaign.pk]

    assert (cost.n, len(asked)) == (15, 2)
    if connection.vendor == "sqlite":  # elsewhere a small table is read whole
        with connection.cursor() as cursor:
            of_ended = next(each["sql"] for each in asked if "finished_at" in each["sql"])
            cursor.execute(f"EXPLAIN QUERY PLAN {of_ended}")
            assert "conversations_finished" in str(cursor.fetchall())
