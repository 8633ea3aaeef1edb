"""My work beside the assignments: conversations, deletion of one, hints, wellbeing settings."""

import uuid

import pytest
from django.urls import reverse

from comparisons.models import Comparison, DatasetRelease, Response, Turn
from comparisons.queries import own_work
from comparisons.services import chat, judging, opinions
from comparisons.services.releasing import cut_release
from tests.comparisons.making import make_comparison, make_conversation, make_crowdworker
from tests.comparisons.talking import agreed_person, answered, begun, chosen, live_campaign, said

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("bell")]


@pytest.fixture
def ended():
    conversation = begun(live_campaign())
    chosen(answered(said(conversation, "My secret"), a="canary"), reason_text="My reason")
    chat.end_conversation(conversation, rating=3, comment="My comment")
    return conversation


def test_one_conversation_is_deleted_and_the_person_goes_on(client, ended):
    release = cut_release("r-1", test_percent=0)
    client.force_login(ended.crowdworker.account)
    url = reverse("delete_conversation", args=[ended.public_id])
    assert "cannot be brought back" in client.get(url).content.decode()
    hashes = set(Response.objects.values_list("text_sha256", flat=True))

    client.post(url, {"is_sure": 1})

    ended.refresh_from_db()
    assert (ended.state, ended.is_withdrawn, ended.comment) == ("finished", True, "")
    assert Turn.objects.get().message == ""
    assert set(Response.objects.values_list("text", flat=True)) == {""}
    assert set(Response.objects.values_list("text_sha256", flat=True)) == hashes
    comparison = Comparison.objects.get()
    assert (comparison.set_aside_reason, comparison.reason_text) == ("withdrawn", "")
    assert DatasetRelease.objects.get(pk=release.pk).stale_at is not None
    assert ended.crowdworker.standing == "active"
    assert client.get(reverse("conversation", args=[ended.public_id])).status_code == 404


def test_an_open_conversation_is_ended_first(client):
    conversation = begun(live_campaign())
    client.force_login(conversation.crowdworker.account)

    url = reverse("delete_conversation", args=[conversation.public_id])

    assert client.get(url).status_code == 404
    assert client.post(url, {"is_sure": 1}).status_code == 404
    conversation.refresh_from_db()
    assert not conversation.is_withdrawn


def test_conversations_come_in_pages(client, monkeypatch):
    monkeypatch.setattr(own_work, "PAGE", 2)
    person = make_crowdworker()
    made = [make_conversation(crowdworker=person, state="finished") for _ in range(3)]
    client.force_login(person.account)
    url = reverse("my_conversations")

    first = client.get(url).content.decode()
    second = client.get(f"{url}?before={made[1].pk}").content.decode()

    assert f"?before={made[1].pk}" in first
    assert str(made[0].public_id) in second
    assert str(made[0].public_id) not in first
    assert 'href="?before=' not in second


def test_hints_speak_of_ones_own_habits_as_help(client):
    person = make_crowdworker()
    conversation = make_conversation(crowdworker=person)
    for number in range(20):
        make_comparison(
            conversation, picked="x" * 700, other="y" * 700 + str(number), side="B",
            active_milliseconds=2000,
        )  # fmt: skip
    client.force_login(person.account)

    text = client.get(reverse("my_work")).content.decode()

    assert [hint.kind for hint in own_work.hints(person)] == ["quick", "side"]
    assert "You chose within 3 s on 20 pairs of long responses." in text
    assert "Lately you picked response B nearly always." in text
    assert "%" not in text.partition("<main")[2].partition("</main>")[0]


def test_usual_habits_bring_no_hint():
    person = make_crowdworker()
    conversation = make_conversation(crowdworker=person)
    for side in "AB" * 12:
        make_comparison(conversation, side=side, active_milliseconds=20_000)

    assert own_work.hints(person) == []


def test_second_opinions_and_their_time_are_counted(client):
    campaign = live_campaign(second_opinion_percent=100)
    chosen(answered(said(begun(campaign))))
    person = agreed_person(campaign)
    showing = opinions.take(person)
    texts = {"A": showing.side_a.text_sha256, "B": showing.side_b.text_sha256}
    judging.record_choice(
        showing, side="A", strength=2, choice_key=uuid.uuid4(), text_sha256=texts,
        active_milliseconds=120_000,
    )  # fmt: skip
    client.force_login(person.account)

    assert "One second opinion, 2 min" in client.get(reverse("my_work")).content.decode()


def test_wellbeing_settings_are_kept(client):
    person = make_crowdworker(is_red_team_opted_in=True)
    client.force_login(person.account)

    client.post(
        reverse("wellbeing"),
        {"cover": "never", "comfort": "strong", "has_topics": 1, "topics": ["hate", "drugs"]},
    )

    person.refresh_from_db()
    assert (person.cover_responses, person.comfort) == ("never", "strong")
    assert person.topic_opt_outs == ["hate", "drugs"]
    assert client.get(reverse("wellbeing")).content.decode().count("checked") == 4
