"""Who reaches what: the owner, and nobody else; every page private, every change a POST with a token."""

import uuid

import pytest
from django.test import Client
from django.urls import reverse

from comparisons.services import assignment_ends
from comparisons.web import urls
from tests.comparisons.making import make_account
from tests.comparisons.talking import agreed_person, answered, begun, live_campaign, said

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("bell")]

OPEN = {"sign_in", "sign_in_link", "join", "join_by_code", "arrive", "prolific_hook"}
POST_ONLY = {
    "sign_out", "preferences", "start_work", "consent", "opt_in", "leave_red_team", "say",
    "intent", "comment", "end_conversation", "choice", "undo", "skip", "unskip", "stop",
    "regenerate", "retry", "flag", "opinion_choice", "practice_choice", "pass_opinion", "undo_opinion",
    "flag_opinion", "write_reply", "pass_reply",
    "prolific_hook",  # its signature is its token
}  # fmt: skip
OF_CONVERSATION = {
    "conversation",
    "delete_conversation",
    "say",
    "intent",
    "comment",
    "end_conversation",
}
OF_TURN = {
    "turn_events", "choice", "undo", "skip", "unskip", "stop", "regenerate", "retry", "flag", "write",
}  # fmt: skip
OF_CAMPAIGN = {
    "campaign_home", "instructions", "start_work", "consent", "opt_in", "leave_red_team",
    "practice", "practice_choice",
}  # fmt: skip
OF_OTHERS = {
    "opinion_choice", "undo_opinion", "pass_opinion", "flag_opinion", "write_reply", "pass_reply", "hand_in", "arrive",
}  # fmt: skip
PLAIN = {
    "home", "sign_out", "preferences", "keys", "opinions", "my_work", "own_data", "withdraw",
    "wellbeing", "replies", "my_conversations", "password", "confirm",
}  # fmt: skip


@pytest.fixture
def turn():
    campaign = live_campaign()
    return answered(said(begun(campaign, agreed_person(campaign))))


def every_address(turn) -> dict[str, str]:
    conversation = turn.conversation
    found = {name: reverse(name, args=[conversation.public_id]) for name in OF_CONVERSATION}
    found |= {name: reverse(name, args=[turn.public_id]) for name in OF_TURN}
    slug = conversation.campaign.slug
    found |= {name: reverse(name, args=[slug]) for name in OF_CAMPAIGN - {"practice_choice"}}
    found |= {name: reverse(name) for name in PLAIN | {"sign_in", "join_by_code", "prolific_hook"}}
    found |= {name: reverse(name, args=[uuid.uuid4()]) for name in OF_OTHERS}
    found["practice_choice"] = reverse("practice_choice", args=[slug, 1, 1])
    found["sign_in_link"] = reverse("sign_in_link", args=["x"])
    found["join"] = reverse("join", args=["x"])
    return found


def ask(client: Client, name: str, url: str):
    return client.post(url) if name in POST_ONLY else client.get(url)


def test_every_address_of_the_crowd_is_in_this_table(turn):
    assert set(every_address(turn)) == {pattern.name for pattern in urls.urlpatterns}


def test_anonymous_people_are_sent_to_sign_in(client, turn):
    for name, url in every_address(turn).items():
        answer = ask(client, name, url)
        if name in OPEN | {"preferences"}:
            continue
        assert answer.status_code == 302, name
        assert answer.url.startswith("/sign-in/?next="), name


def test_a_form_sent_after_the_session_leads_back_to_its_page(client, turn):
    page = reverse("conversation", args=[turn.conversation.public_id])
    end = reverse("end_conversation", args=[turn.conversation.public_id])

    ways = [
        client.post(end, {"comment": "Mine."}, headers={"referer": referer}).url
        for referer in (f"http://testserver{page}?at=1", "https://other.example/x", "")
    ]

    assert ways == [
        f"/sign-in/?next={page}%3Fat%3D1", f"/sign-in/?next={end}", f"/sign-in/?next={end}",
    ]  # fmt: skip


def test_a_foreign_conversation_or_turn_does_not_exist(client, turn):
    client.force_login(agreed_person(turn.conversation.campaign).account)

    found = {
        name: ask(client, name, url).status_code
        for name, url in every_address(turn).items()
        if name in OF_CONVERSATION | OF_TURN | OF_OTHERS
    }

    assert set(found.values()) == {404}, found


@pytest.mark.parametrize("role", ["researcher", "administrator"])
def test_staff_do_not_work_in_the_crowds_place(client, turn, role):
    client.force_login(make_account(role))

    for name, url in every_address(turn).items():
        own = {"my_work", "own_data", "opinions", "replies"}
        if name in OF_CONVERSATION | OF_TURN | OF_CAMPAIGN | OF_OTHERS | own:
            assert ask(client, name, url).status_code == 404, name


def test_suspended_people_read_why(client, turn):
    person = turn.conversation.crowdworker
    person.standing, person.standing_reason = "suspended", "Please write to us."
    person.save(update_fields=["standing", "standing_reason"])
    client.force_login(person.account)

    answer = client.get(reverse("conversation", args=[turn.conversation.public_id]))

    assert answer.status_code == 403
    assert "Please write to us." in answer.content.decode()


OWN_DATA = {"my_work", "own_data", "withdraw", "my_conversations", "delete_conversation"}


def test_suspended_people_reach_their_own_data_and_nothing_else(client, turn):
    person = turn.conversation.crowdworker
    assignment_ends.give_back(turn.conversation.assignment)
    person.standing = "suspended"
    person.save(update_fields=["standing"])
    client.force_login(person.account)

    found = {
        name: ask(client, name, url).status_code
        for name, url in every_address(turn).items()
        if name in (OF_CONVERSATION | OF_TURN | OF_CAMPAIGN | OF_OTHERS | PLAIN) - {"sign_out"}
    }

    assert {name for name in OWN_DATA if found[name] == 200} == OWN_DATA
    work = OF_CONVERSATION | OF_TURN | OF_CAMPAIGN | {"home", "opinions", "replies", "wellbeing"}
    shut_out = work - OWN_DATA - {"turn_events"}  # a stream of their own text changes nothing
    assert {found[name] for name in shut_out} == {403}
    shut = client.get(reverse("home")).content.decode()
    assert all(f'href="{reverse(name)}"' in shut for name in ("my_work", "own_data", "withdraw"))


def test_a_suspended_person_withdraws_and_does_not_come_back_as_somebody_new(client, turn):
    person = turn.conversation.crowdworker
    person.standing = "suspended"
    person.save(update_fields=["standing"])
    client.force_login(person.account)
    kept = person.external_id_hash

    told = client.get(reverse("withdraw")).content.decode()
    client.post(reverse("withdraw"), {"is_sure": "1"})

    person.refresh_from_db()
    turn.refresh_from_db()
    assert "a keyed hash of your id on the platform is kept" in told
    assert (person.standing, turn.message) == ("withdrawn", "")
    assert person.external_id_hash == kept != ""


def test_changes_need_a_token_and_a_post(turn):
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(turn.conversation.crowdworker.account)

    for name, url in every_address(turn).items():
        if name in POST_ONLY:
            assert strict.post(url).status_code == 403, name
            assert strict.get(url).status_code == 405, name


def test_every_page_is_private_and_strict(client, turn):
    client.force_login(turn.conversation.crowdworker.account)

    for name, url in every_address(turn).items():
        if name == "turn_events":
            continue
        headers = ask(client, name, url).headers
        assert headers["Cache-Control"] == "no-store, private", name
        assert "unsafe" not in headers["Content-Security-Policy"], name
        assert "default-src 'none'" in headers["Content-Security-Policy"], name
        assert "camera=()" in headers["Permissions-Policy"], name
