"""A second opinion and the next item in one transaction: neither spoils the other."""

import uuid

import pytest

from comparisons.models import Comparison, Showing
from comparisons.services import giving, opinions
from tests.comparisons.services.test_opinions import judged_turn
from tests.comparisons.talking import agreed_person, live_campaign

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("bell")]


def test_the_choice_stands_when_the_next_item_is_taken_in_another_tab_meanwhile(monkeypatch):
    campaign = live_campaign(second_opinion_percent=100)
    judged_turn(campaign)
    judged_turn(campaign)
    person = agreed_person(campaign)
    item = opinions.take(person)
    look = opinions.look

    def meanwhile(crowdworker, *, besides=None):
        """Right after the look, the other tab takes the other turn's item, and it is put up once more."""
        seen = look(crowdworker, besides=besides)
        if besides is not None:
            taken = Showing.objects.get(pk=seen.waiting[0][0])
            Showing.objects.filter(pk=taken.pk).update(
                crowdworker=person, lease_until=item.lease_until
            )
            again = opinions.put_up(taken.turn, taken.side_a_id, taken.side_b_id)
            return opinions.Outlook(
                crowdworker=person, standing=None, waiting=[(again.pk, seen.waiting[0][1])]
            )
        return seen

    monkeypatch.setattr(opinions, "look", meanwhile)
    given = giving.give_opinion(
        item,
        person,
        side="A",
        strength=2,
        text_sha256={"A": item.side_a.text_sha256, "B": item.side_b.text_sha256},
        choice_key=uuid.uuid4(),
    )

    assert Comparison.objects.get(crowdworker=person) == given.comparison
    assert given.following.turn != item.turn
    assert given.following.crowdworker_id == person.pk


def test_an_opinion_keeps_how_its_pair_was_laid_out():
    campaign = live_campaign(second_opinion_percent=100)
    judged_turn(campaign)
    item = opinions.take(person := agreed_person(campaign))

    giving.give_opinion(
        item, person, side="A", strength=2, choice_key=uuid.uuid4(), layout="stacked",
        text_sha256={"A": item.side_a.text_sha256, "B": item.side_b.text_sha256},
    )  # fmt: skip

    assert Showing.objects.get(pk=item.pk).layout == "stacked"
