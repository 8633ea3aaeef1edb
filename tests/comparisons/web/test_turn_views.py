"""What a person does with a turn over HTTP: only with what was on the screen, and once."""

import json
import re
import uuid
from datetime import timedelta

import pytest
from django.urls import reverse

from comparisons.models import Assignment, Campaign, Comparison, Response, Turn
from comparisons.services import judging, turns
from comparisons.services.turns import author_showing
from tests.comparisons.talking import (
    agreed_person,
    answered,
    begun,
    chosen,
    hash_of,
    live_campaign,
    said,
)

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("bell")]
HIDDEN = re.compile(r'name="(sha256_a|sha256_b|choice_key|side)" value="([^"]*)"')
SCRIPT = {"accept": "application/json"}
VERSION = re.compile(r'id="dock"[^>]* data-version="([^"]*)"')


def hidden(response) -> dict[str, str]:
    return dict(HIDDEN.findall(response.content.decode()))


@pytest.fixture
def turn():
    return answered(said(begun(live_campaign(allows_edit=True))))


@pytest.fixture
def browser(client, turn):
    client.force_login(turn.conversation.crowdworker.account)
    return client


@pytest.fixture
def place(turn) -> str:
    return reverse("write", args=[turn.public_id])


def test_a_second_click_on_a_saved_text_leads_to_the_conversation(browser, turn, place):
    form = {**hidden(browser.get(place + "?side=B")), "text": "Better."}

    answers = [browser.post(place, form), browser.post(place, form)]

    assert [each.url for each in answers] == [
        reverse("conversation", args=[turn.conversation.public_id])
    ] * 2
    assert Comparison.objects.get().picked.text == "Better."
    assert browser.get(place).status_code == 302


def test_an_undone_choice_is_given_back_with_the_two_that_it_was_between(browser, turn):
    page = reverse("conversation", args=[turn.conversation.public_id])
    assert 'id="undone"' not in browser.get(page).content.decode()
    said_with_it = {"is_both_bad": True, "reason_tags": ["rude"], "reason_text": "Both shout."}
    chosen(turn, side="B", strength=2, **said_with_it)

    stage = browser.post(reverse("undo", args=[turn.public_id]), headers=SCRIPT).json()["stage"]

    undone = re.search(r'<script id="undone"[^>]*>(.*?)</script>', stage)[1]
    assert json.loads(undone) == {"point": 6, **said_with_it}
    turn.refresh_from_db()
    turns.regenerate(turn)
    answered(turn, a="Third.", b="Fourth.")
    assert 'id="undone"' not in browser.get(page).content.decode()


def test_a_choice_that_comes_again_after_its_undo_is_not_said_to_be_saved(browser, turn):
    page = browser.get(reverse("conversation", args=[turn.conversation.public_id]))
    form = {**hidden(page), "point": "2", "reason_text": "Why."}
    place = reverse("choice", args=[turn.public_id])
    browser.post(place, form)
    browser.post(reverse("undo", args=[turn.public_id]))

    again = browser.post(place, form, headers={"accept": "application/json"})

    said = again.json()
    assert (again.status_code, said["error"], said["dock"]) == (409, "taken_back", "strip")
    assert said["message"] == "This choice was taken back meanwhile. Here is how it stands now."
    assert "saved" not in said
    fresh = re.search(r'name="choice_key" value="([^"]*)"', said["stage"])[1]
    assert browser.post(place, {**form, "choice_key": fresh}).status_code == 302


def test_a_text_that_comes_again_after_its_undo_is_shown_and_can_be_saved(browser, turn, place):
    form = {**hidden(browser.get(place + "?side=B")), "text": "Twelve minutes of work."}
    browser.post(place, form)
    browser.post(reverse("undo", args=[turn.public_id]))

    refused = browser.post(place, form)
    saved = browser.post(place, {**form, **hidden(refused)})

    assert refused.status_code == 409
    assert "Twelve minutes of work." in refused.content.decode()
    assert "This choice was taken back meanwhile." in refused.content.decode()
    assert saved.status_code == 302
    standing = Comparison.objects.get(superseded_at__isnull=True)
    assert standing.picked.text == "Twelve minutes of work."


def test_an_edit_of_a_response_that_was_written_anew_shows_the_new_one(browser, turn, place):
    form = {**hidden(browser.get(place + "?side=A")), "text": "My own words."}
    answered(turns.regenerate(turn), a="Third.", b="Fourth.")

    refused = browser.post(place, form)

    assert refused.status_code == 409
    assert "My own words." in refused.content.decode()
    assert "Third." in refused.content.decode()
    assert not Comparison.objects.exists()
    again = browser.post(place, {**form, **hidden(refused)})
    assert again.status_code == 302
    assert Comparison.objects.get().other.text == "Third."


def test_the_strip_changes_with_the_responses_it_stands_for(browser, turn):
    page = reverse("conversation", args=[turn.conversation.public_id])
    before = VERSION.search(browser.get(page).content.decode())[1]
    answered(turns.regenerate(turn), a="Third.", b="Fourth.")

    after = VERSION.search(browser.get(page).content.decode())[1]

    assert before
    assert after
    assert before != after


@pytest.mark.parametrize(("sent", "kept"), [("90000", 90_000), ("", None)])
def test_the_time_of_writing_is_kept_and_paid_and_not_made_up(browser, turn, place, sent, kept):
    Assignment.objects.update(counted_since=turn.created_at - timedelta(hours=1))
    page = browser.get(place + "?side=B")
    assert 'name="active_milliseconds"' in page.content.decode()

    browser.post(place, {**hidden(page), "text": "Better.", "active_milliseconds": sent})

    assert Comparison.objects.get().active_milliseconds == kept
    assert Assignment.objects.get().active_milliseconds == (kept or 0)


def test_a_text_that_comes_after_a_choice_elsewhere_is_shown_again(browser, turn, place):
    form = {**hidden(browser.get(place + "?side=B")), "text": "Twelve minutes of work."}
    chosen(turn)

    answer = browser.post(place, form)

    assert answer.status_code == 409
    assert "Twelve minutes of work." in answer.content.decode()
    assert "This turn was chosen already." in answer.content.decode()


def test_a_text_that_is_not_taken_any_more_is_shown_again(browser, turn, place):
    form = {**hidden(browser.get(place + "?side=B")), "text": "Twelve minutes of work."}
    Campaign.objects.update(allows_edit=False)

    answer = browser.post(place, form)

    assert answer.status_code == 422
    assert "Twelve minutes of work." in answer.content.decode()
    assert "does not take responses written by people" in answer.content.decode()
    assert browser.get(place + "?side=B").status_code == 404


def generating():
    """A turn whose sides wait for each other, one of them complete."""
    turn = said(begun(live_campaign(allows_edit=True, allows_write=True, names=("x", "y"))))
    Turn.objects.filter(pk=turn.pk).update(is_held_back=True)
    Response.objects.filter(pk=author_showing(turn).side_a_id).update(
        state="ready", text="canary side", text_sha256=hash_of("canary side"), finish_reason="stop"
    )
    return turn


@pytest.mark.parametrize("kind", ["edit", "own"])
def test_what_is_held_back_is_not_shown_to_a_text_that_comes_early(client, kind):
    turn = generating()
    client.force_login(turn.conversation.crowdworker.account)
    place = reverse("write", args=[turn.public_id])
    form = {"text": "Twelve minutes.", "side": "A", "kind": kind, "choice_key": uuid.uuid4(),
            "sha256_a": "of before", "sha256_b": "of before"}  # fmt: skip

    answers = [client.post(place, form), client.post(place, {"text": "Twelve minutes."})]
    answered(turn)
    again = client.post(place, {**hidden(answers[0]), "text": "Twelve minutes.", "kind": kind})

    for answer in answers:
        text = answer.content.decode()
        assert "canary side" not in text
        assert hash_of("canary side") not in text
        assert "Twelve minutes." in text
        assert "You can write when both responses are complete." in text
    assert (again.status_code, "First." in again.content.decode()) == (409, True)
    assert not Comparison.objects.exists()


def test_a_text_that_two_new_responses_overtook_says_so(browser, turn, place, monkeypatch):
    form = {**hidden(browser.get(place + "?side=B")), "text": "Twelve minutes."}
    check = judging.check_texts

    def regenerated_after(showing, hashes):
        check(showing, hashes)
        turns.regenerate(turn)

    monkeypatch.setattr(judging, "check_texts", regenerated_after)

    answer = browser.post(place, form)

    text = answer.content.decode()
    assert (answer.status_code, "Twelve minutes." in text) == (409, True)
    assert "Two new responses were asked for. Here is how it stands now." in text
    assert "Second." not in text


@pytest.mark.parametrize(("values", "status"), [({}, 404), ({"allows_edit": True}, 422)])
def test_without_a_text_an_editor_is_shown_only_where_there_is_one(client, values, status):
    turn = answered(said(begun(live_campaign(names=("x", "y"), **values))))
    client.force_login(turn.conversation.crowdworker.account)

    answer = client.post(reverse("write", args=[turn.public_id]), {"side": "A", "text": " "})

    assert answer.status_code == status


@pytest.mark.parametrize(("cover", "is_covered"), [("always", True), ("never", False)])
@pytest.mark.parametrize("asked", ["?side=A", "?side=B", "?kind=own"])
def test_red_team_text_is_covered_also_where_one_writes_beside_it(client, cover, is_covered, asked):
    campaign = live_campaign(
        objective="harmless", question="less_harmful", allows_edit=True, allows_write=True
    )
    person = agreed_person(campaign, cover_responses=cover)
    turn = answered(said(begun(campaign, person)), a="canary A", b="canary B")
    client.force_login(person.account)

    text = client.get(reverse("write", args=[turn.public_id]) + asked).content.decode()
    open_text = re.sub(r"<details.*?</details>", "", text, flags=re.DOTALL)

    assert "canary " in text
    assert ("canary " in open_text) != is_covered
    assert open_text.count("covered. It may be upsetting.") == is_covered * 2


def test_a_refused_edit_is_covered_again_with_what_it_stands_beside(client):
    campaign = live_campaign(objective="harmless", question="less_harmful", allows_edit=True)
    person = agreed_person(campaign, cover_responses="always")
    turn = answered(said(begun(campaign, person)), a="canary A", b="canary B")
    client.force_login(person.account)
    place = reverse("write", args=[turn.public_id])

    refused = client.post(place, {**hidden(client.get(place + "?side=A")), "text": "canary A"})
    text = refused.content.decode()

    assert "The text is the same as before." in text
    assert "canary A" not in re.sub(r"<details.*?</details>", "", text, flags=re.DOTALL)
