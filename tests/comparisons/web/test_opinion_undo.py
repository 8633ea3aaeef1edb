"""The way back from a second opinion: offered to the one who gave it, and safe to send twice."""

from datetime import timedelta

import pytest
from django.urls import reverse

from comparisons.models import Comparison, Showing
from comparisons.services import opinions
from tests.comparisons.services.test_opinions import judge, judged_turn
from tests.comparisons.talking import agreed_person, live_campaign

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("bell")]
JSON = {"accept": "application/json"}


@pytest.fixture
def campaign():
    return live_campaign(second_opinion_percent=100)


@pytest.fixture
def given(campaign, client):
    judged_turn(campaign)
    person = agreed_person(campaign)
    client.force_login(person.account)
    return judge(opinions.take(person), reason_text="B names a day.")


def undo(client, comparison):
    place = reverse("undo_opinion", args=[comparison.showing.public_id])
    return client.post(place, headers=JSON)


def test_the_page_says_what_was_chosen_last_and_gives_it_back_whole(client, given):
    page = client.get(reverse("opinions")).content.decode()
    assert "Last pair: you picked A, slightly better." in page

    answer = undo(client, given)

    assert (answer.status_code, answer.json()["dock"]) == (200, "strip")
    assert "B names a day." in answer.json()["stage"]
    assert "Last pair" not in answer.json()["stage"]
    given.refresh_from_db()
    assert given.superseded_at


def test_sent_twice_it_takes_one_choice_back(client, given):
    assert undo(client, given).status_code == undo(client, given).status_code == 200
    assert given.crowdworker.undos.count() == 1


def test_after_the_window_it_is_neither_offered_nor_done(client, given):
    campaign = given.turn.conversation.campaign
    late = campaign.undoable_since() - timedelta(seconds=1)
    Comparison.objects.filter(pk=given.pk).update(created_at=late)

    page = client.get(reverse("opinions")).content.decode()
    answer = undo(client, given)

    assert "Undo this choice" not in page
    assert (answer.status_code, answer.json()["error"]) == (409, "undo_over")
    assert "over" in answer.json()["message"]


def test_nobody_takes_another_persons_opinion_back(client, campaign, given):
    client.force_login(agreed_person(campaign).account)
    assert undo(client, given).status_code == 404
    assert not Comparison.objects.filter(superseded_at__isnull=False).exists()


def test_without_scripts_it_leads_to_the_pair(client, given):
    answer = client.post(reverse("undo_opinion", args=[given.showing.public_id]))
    assert answer.url == reverse("opinions")
    held = Showing.objects.get(pk=given.showing_id)
    assert held.judged_at is None
