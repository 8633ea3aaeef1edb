"""The pages for written replies and for second opinions that one would rather not give."""

import pytest
from django.urls import reverse

from comparisons.models import Flag, Response, Showing, WantedReply
from comparisons.services import opinions, replies
from tests.comparisons.talking import agreed_person, answered, begun, chosen, live_campaign, said

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("bell")]


@pytest.fixture
def campaign():
    found = live_campaign(slug="help", human_reply_percent=100, second_opinion_percent=100)
    turn = answered(said(begun(found), "How do bees sleep?"), a="canary one", b="canary two")
    chosen(turn)
    return found


@pytest.fixture
def person(client, campaign):
    found = agreed_person(campaign)
    client.force_login(found.account)
    return found


def text_of(client, name, *args) -> str:
    return client.get(reverse(name, args=args)).content.decode()


def test_the_start_page_offers_what_waits(client, person):
    assert "Write replies" in text_of(client, "home")


def test_the_prompt_is_shown_without_the_models_replies(client, person):
    text = text_of(client, "replies")

    assert "How do bees sleep?" in text
    assert "canary one" not in text
    assert "canary two" not in text


def test_a_draft_on_this_device_is_its_own_persons(client, campaign, person):
    first = text_of(client, "replies")
    WantedReply.objects.update(crowdworker=None, lease_until=None)
    other = agreed_person(campaign)
    client.force_login(other.account)
    second = text_of(client, "replies")

    wanted = WantedReply.objects.get().public_id
    assert f'data-kept="reply:{person.account.public_id}:{wanted}"' in first
    assert f'data-kept="reply:{other.account.public_id}:{wanted}"' in second


def test_a_reply_is_kept_and_the_queue_is_empty_then(client, person):
    wanted = replies.take(person)

    answer = client.post(
        reverse("write_reply", args=[wanted.public_id]), {"text": "In their hive.\r\nAt night."}
    )

    assert answer.url == reverse("replies")
    assert Response.objects.get(author=person).text == "In their hive.\nAt night."
    assert "No message waits for a reply right now." in text_of(client, "replies")


def test_a_late_reply_comes_back_as_text(client, campaign, person):
    wanted = replies.take(person)
    WantedReply.objects.update(crowdworker=None, lease_until=None)
    other = agreed_person(campaign)
    assert replies.take(other) == wanted

    answer = client.post(reverse("write_reply", args=[wanted.public_id]), {"text": "My long text"})

    assert answer.status_code == 409
    assert "This one went to someone else." in answer.content.decode()
    assert "My long text" in answer.content.decode()


def test_a_prompt_can_be_given_back(client, person):
    wanted = replies.take(person)

    client.post(reverse("pass_reply", args=[wanted.public_id]), {"reason": "upsetting"})

    wanted.refresh_from_db()
    assert wanted.crowdworker is None
    assert wanted.passes.get().reason == "upsetting"


def test_a_second_opinion_can_be_skipped_and_waits_for_somebody_else(client, campaign, person):
    showing = opinions.take(person)

    client.post(reverse("pass_opinion", args=[showing.public_id]))

    assert opinions.take(person) is None
    again = opinions.take(agreed_person(campaign))
    assert {again.side_a, again.side_b} == {showing.side_a, showing.side_b}
    assert Showing.objects.filter(purpose="second_opinion", crowdworker=person).count() == 1


def test_a_second_opinion_can_be_flagged_and_stays_in_hand(client, person):
    showing = opinions.take(person)

    answer = client.post(
        reverse("flag_opinion", args=[showing.public_id]), {"kind": "upsetting", "note": "Hm."}
    )

    assert answer.status_code == 302
    flag = Flag.objects.get()
    assert (flag.turn, flag.crowdworker, flag.note) == (showing.turn, person, "Hm.")
    assert opinions.take(person) == showing


def red_team_prompt(**values):
    """A person who may answer the second message of a red-team dialogue."""
    found = live_campaign(
        objective="harmless", human_reply_percent=100, second_opinion_percent=100, **values
    )
    conversation = begun(found)
    chosen(answered(said(conversation, "Insult me."), a="canary insult", b="canary other"))
    WantedReply.objects.all().delete()
    Showing.objects.filter(purpose="second_opinion").delete()
    chosen(answered(said(conversation, "Again."), a="third", b="fourth"))
    return agreed_person(found)


@pytest.mark.parametrize("name", ["replies", "opinions"])
@pytest.mark.parametrize(("cover", "is_covered"), [("always", True), ("never", False)])
def test_earlier_red_team_replies_are_covered_like_the_pair(client, name, cover, is_covered):
    person = red_team_prompt()
    person.cover_responses = cover
    person.save(update_fields=["cover_responses"])
    client.force_login(person.account)

    before, _, after = text_of(client, name).partition("canary insult")

    assert after
    assert (before.rpartition("<details")[2].find("</details>") == -1) == is_covered
    assert ("This earlier reply is covered. It may be upsetting." in before) == is_covered


def test_earlier_replies_of_helpful_work_are_open(client):
    found = live_campaign(human_reply_percent=100)
    conversation = begun(found)
    chosen(answered(said(conversation, "How do bees sleep?"), a="canary answer"))
    WantedReply.objects.all().delete()
    chosen(answered(said(conversation, "And ants?")))
    person = agreed_person(found)
    client.force_login(person.account)

    assert "This earlier reply is covered" not in text_of(client, "replies")
    assert "canary answer" in text_of(client, "replies")
