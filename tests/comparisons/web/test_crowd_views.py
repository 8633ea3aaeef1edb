"""The crowdworker's pages over HTTP: they work as plain forms, for their owner, and name no model."""

import re
import uuid

import pytest
from django.urls import reverse

from comparisons.models import Comparison, Conversation, Flag, Turn
from comparisons.services import onboarding
from comparisons.services.turns import author_showing
from tests.comparisons.making import PASSWORD, make_account, make_crowdworker
from tests.comparisons.talking import agreed_person, answered, begun, chosen, live_campaign, said

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("bell")]
JSON = {"accept": "application/json"}
HIDDEN = re.compile(r'name="(sha256_a|sha256_b|choice_key|message_key|after)" value="([^"]*)"')


def hidden(response) -> dict[str, str]:
    return dict(HIDDEN.findall(response.content.decode()))


@pytest.fixture
def campaign():
    return live_campaign(second_opinion_percent=100)


@pytest.fixture
def person(campaign):
    return agreed_person(campaign)


@pytest.fixture
def browser(client, person):
    client.force_login(person.account)
    return client


def at(conversation, name="conversation"):
    return reverse(name, args=[conversation.public_id])


def test_a_whole_conversation_by_plain_forms(browser, campaign, person):
    started = browser.post(reverse("start_work", args=[campaign.slug]))
    conversation = Conversation.objects.get()
    page = browser.get(started.url)
    browser.post(at(conversation, "say"), {"text": "Hello", **hidden(page)})
    answered(Turn.objects.get(), a="**first** one", b="second one")
    page = browser.get(started.url)
    browser.post(at(Turn.objects.get(), "choice"), {"point": "7", **hidden(page)})
    page = browser.get(started.url)
    ended = browser.post(at(conversation, "end_conversation"), {"rating": "4", "then": "next"})

    comparison = Comparison.objects.get()
    assert started.url == at(conversation)
    assert (comparison.side, comparison.strength) == ("B", 3)
    assert "Turn 1: you picked B, better" in page.content.decode()
    assert "<strong>first</strong>" in page.content.decode()
    assert ended.url == at(Conversation.objects.get(position=2))


def test_consent_comes_first(client, campaign):
    newcomer = make_crowdworker()
    client.force_login(newcomer.account)

    first = client.post(reverse("start_work", args=[campaign.slug]))
    wrong = client.post(reverse("consent", args=[campaign.slug]), {"version": "1"})
    right = client.post(
        reverse("consent", args=[campaign.slug]),
        {"version": "1", "has_read": "1", "then": "start"},
    )

    assert first.url == wrong.url == reverse("instructions", args=[campaign.slug])
    assert right.url == at(Conversation.objects.get())
    assert newcomer.consents.get().instruction_version.version == 1


def test_choice_answers_scripts_with_json_and_says_why_not(browser, campaign, person):
    turn = answered(said(begun(campaign, person)))
    url, fields = at(turn, "choice"), hidden(browser.get(at(turn.conversation)))

    nothing = browser.post(url, fields, headers=JSON)
    changed = browser.post(url, {**fields, "point": 3, "sha256_a": "0" * 64}, headers=JSON)
    done = browser.post(url, {**fields, "point": 3}, headers=JSON)
    replay = browser.post(url, {**fields, "point": 3}, headers=JSON)
    other = browser.post(url, {**fields, "point": 6, "choice_key": uuid.uuid4()}, headers=JSON)

    statuses = [each.status_code for each in (nothing, changed, done, replay, other)]
    assert statuses == [422, 409, 200, 200, 409]
    assert [each.json().get("error") for each in (nothing, changed, other)] == [
        "no_pick",
        "text_changed",
        "already_judged",
    ]
    assert done.json()["saved"] == replay.json()["saved"] == str(Comparison.objects.get().public_id)
    assert 'data-dock="message"' in other.json()["stage"]


def test_choosing_too_early_is_409(browser, campaign, person):
    turn = said(begun(campaign, person))
    fields = {"sha256_a": "x", "sha256_b": "y", "choice_key": uuid.uuid4(), "point": 1}

    answer = browser.post(at(turn, "choice"), fields, headers=JSON)

    assert (answer.status_code, answer.json()["error"]) == (409, "not_ready")


def test_typed_text_survives_a_refusal(browser, campaign, person):
    conversation = begun(campaign, person)
    chosen(answered(said(conversation)))

    answer = browser.post(
        at(conversation, "say"), {"text": "my long text", "message_key": uuid.uuid4(), "after": 0}
    )

    assert answer.status_code == 409
    assert "my long text" in answer.content.decode()
    assert "went on in another tab" in answer.content.decode()


@pytest.mark.parametrize("text", [b"%00", b"x" * 4001, b"", b"%ED%A0%80", b"%FF%FE", b"a%00b"])
def test_strange_text_never_breaks(browser, campaign, person, text):
    conversation = begun(campaign, person)

    body = b"text=%s&message_key=%s" % (text, str(uuid.uuid4()).encode())
    form = "application/x-www-form-urlencoded"
    answer = browser.generic("POST", at(conversation, "say"), body, form, headers=JSON)

    assert answer.status_code in {200, 422}


def test_held_back_responses_stay_hidden_until_both_are_there(browser, campaign, person):
    turn = said(begun(campaign, person))
    answered(turn, a="canary-early", b="x")
    Turn.objects.update(state="generating", is_held_back=True)

    page = browser.get(at(turn.conversation)).content.decode()

    assert "canary-early" not in page
    assert page.count("They will appear together.") == 2
    assert 'data-dock="held"' in page
    assert reverse("stop", args=[turn.public_id]) not in page


def test_skip_flag_regenerate_and_comment(browser, campaign, person):
    turn = answered(said(begun(campaign, person)))

    browser.post(at(turn, "flag"), {"kind": "personal_data", "note": "an address"})
    browser.post(at(turn.conversation, "comment"), {"comment": "slow today"}, headers=JSON)
    browser.post(at(turn, "regenerate"))
    browser.post(at(turn, "stop"))
    browser.post(at(turn, "skip"), {"reason": "upsetting"})

    turn.refresh_from_db()
    turn.conversation.refresh_from_db()
    assert (turn.state, turn.skip_reason, turn.regenerations) == ("skipped", "upsetting", 1)
    assert (Flag.objects.get().note, turn.conversation.comment) == ("an address", "slow today")


def test_red_team_warns_covers_and_lets_one_leave(client):
    campaign, helpful = live_campaign(objective="harmless"), live_campaign(names=("x", "y"))
    person = make_crowdworker()
    client.force_login(person.account)

    page = client.get(reverse("campaign_home", args=[campaign.slug])).content.decode()
    start = client.post(reverse("start_work", args=[campaign.slug]))
    assert "Before you decide" in page
    assert start.url == reverse("campaign_home", args=[campaign.slug])

    client.post(reverse("opt_in", args=[campaign.slug]), {"has_read": "1", "comfort": "mild"})
    onboarding.give_consent(person, campaign.instruction_versions.get())
    person.refresh_from_db()
    turn = answered(said(begun(campaign, person)), a="ugly")
    page = client.get(at(turn.conversation)).content.decode()
    assert '<details class="cover" data-cover="A">' in page
    assert "more harmful" in page

    left = client.post(reverse("leave_red_team", args=[campaign.slug]))
    person.refresh_from_db()
    assert left.url == reverse("campaign_home", args=[helpful.slug])
    assert not person.is_red_team_opted_in


def test_second_opinions_are_blind_to_the_first_choice(client, campaign, person):
    chosen(answered(said(begun(campaign, person)), a="one", b="two"), side="B", strength=4)
    other = agreed_person(campaign)
    client.force_login(other.account)

    page = client.get(reverse("opinions"))
    action = re.search(r'action="(/opinions/[^"]+)"', page.content.decode())[1]
    done = client.post(action, {"point": "1", **hidden(page)}, headers=JSON)

    text = page.content.decode()
    assert "you picked" not in text
    assert "much better" in text  # the strip's own words, nobody's choice
    assert "checked" not in text
    assert (done.status_code, done.json()["dock"]) == (200, "empty")
    assert other.comparisons.get().strength == 4


def test_my_work_data_and_withdrawal(browser, campaign, person):
    chosen(answered(said(begun(campaign, person), "canary text")))

    page = browser.get(reverse("my_work")).content.decode()
    data = browser.get(reverse("own_data"))
    asked = browser.get(reverse("withdraw"))
    done = browser.post(reverse("withdraw"), {"is_sure": "1"})

    assert "In work" in page
    assert "canary text" in data.content.decode()
    assert "Withdraw" in asked.content.decode()
    assert done.url == reverse("my_work")
    assert "canary text" not in browser.get(reverse("own_data")).content.decode()


def test_nothing_a_crowdworker_sees_names_a_model(browser, campaign, person):
    turn = answered(said(begun(campaign, person)))
    places = [reverse("home"), at(turn.conversation), reverse("my_work"), reverse("own_data")]
    places += [reverse(name, args=[campaign.slug]) for name in ("campaign_home", "instructions")]
    fields = hidden(browser.get(at(turn.conversation)))
    answers = [browser.get(place) for place in places]
    answers.append(browser.post(at(turn, "choice"), {"point": 2, **fields}, headers=JSON))
    answers.append(browser.get(at(turn.conversation), headers=JSON))

    seen = b"".join(each.content + str(each.headers).encode() for each in answers).decode()
    showing = author_showing(turn)
    for response in (showing.side_a, showing.side_b):
        deployment = response.deployment
        secrets = (deployment.name, deployment.checkpoint.name, deployment.checkpoint.hash[:8])
        assert not [secret for secret in secrets if secret in seen]
    assert "deployment" not in seen
    assert "checkpoint" not in seen


def test_an_invitation_makes_an_account_once(client):
    code = onboarding.make_invitation(label="friends")
    url = reverse("join", args=[code])

    shown = client.get(url)
    joined = client.post(url, {"username": "grace", "password": PASSWORD})
    client.logout()
    again = client.post(url, {"username": "edsger", "password": PASSWORD})

    assert (shown.status_code, again.status_code) == (200, 410)
    assert joined.url == reverse("home")


def test_sign_in_says_the_same_for_every_wrong_pair_and_slows_down(client):
    account = make_account()
    url = reverse("sign_in")

    unknown = client.post(url, {"username": "nobody", "password": "x"})
    wrong = client.post(url, {"username": account.username, "password": "x"})
    for _ in range(9):
        client.post(url, {"username": account.username, "password": "x"})
    limited = client.post(url, {"username": account.username, "password": PASSWORD})

    assert unknown.content.decode().count("do not fit together") == 1
    assert wrong.content.decode().count("do not fit together") == 1
    assert limited.status_code == 429
    assert int(limited["Retry-After"]) > 0


@pytest.mark.parametrize("target", ["https://evil.example/", "//evil.example", "javascript:1"])
def test_sign_in_goes_only_to_places_of_ours(client, target):
    account = make_account()

    answer = client.post(
        reverse("sign_in"), {"username": account.username, "password": PASSWORD, "next": target}
    )

    assert answer.url == reverse("home")


def test_theme_and_language_are_written_by_the_server(browser, person):
    browser.post(reverse("preferences"), {"theme": "dark", "next": reverse("my_work")})
    browser.post(reverse("preferences"), {"language": "ar", "next": reverse("my_work")})

    page = browser.get(reverse("my_work")).content.decode()
    assert '<html lang="ar" dir="rtl" data-theme="dark">' in page


def test_keys_can_be_remapped_and_switched_off(browser, person):
    page = browser.get(reverse("keys")).content.decode()
    usual = dict(re.findall(r'name="(key_\w+)" value="([^"]+)"', page))
    clash = browser.post(reverse("keys"), {**usual, "key_skip": "b"})
    kept = browser.post(reverse("keys"), {**usual, "key_skip": "k"})

    person.account.refresh_from_db()
    assert (clash.status_code, kept.status_code) == (422, 302)
    assert (person.account.key_map, person.account.has_single_keys) == ({"skip": "k"}, False)
