"""The practice pages: shown before the work, explained after each answer, kind at the end."""

import json
import re
import uuid
from dataclasses import replace

import pytest
from django.urls import reverse

from comparisons.models import Assignment, Qualification, QualificationAnswer, QualificationResult
from comparisons.services import qualification_publishing as publishing
from comparisons.services import qualifying
from tests.comparisons.making import make_account, make_crowdworker
from tests.comparisons.practising import item, practise, with_practice
from tests.comparisons.talking import agreed_person, begun, live_campaign

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("bell")]


@pytest.fixture
def campaign():
    found = live_campaign(slug="help")
    with_practice(found, items=3, pass_mark=2, attempts=2)
    return found


@pytest.fixture
def person(client, campaign):
    found = agreed_person(campaign)
    client.force_login(found.account)
    return found


def page(client, name, *args, **values) -> str:
    return client.get(reverse(name, args=args), **values).content.decode()


def pick(client, campaign, person, number, *, is_right, attempt=1, **headers):
    found = qualifying.standing(campaign).items.get(number=number)
    side = found.known_side if is_right else "B"
    mirrored = qualifying.is_mirrored(crowdworker=person, item=found, number=attempt)
    shown = qualifying.letter_shown(side=side, is_mirrored=mirrored)
    url = reverse("practice_choice", args=["help", attempt, number])
    return client.post(url, {"point": 2 if shown == "A" else 7}, headers=headers)


def test_the_campaigns_page_says_what_comes_first(client, campaign, person):
    text = page(client, "campaign_home", "help")

    assert "Three practice comparisons come first." in text
    assert "You can try twice." in text


def test_start_leads_through_the_instructions_to_the_practice(client, campaign):
    person = make_crowdworker()
    client.force_login(person.account)

    first = client.post(reverse("start_work", args=["help"]))
    then = client.post(
        reverse("consent", args=["help"]), {"version": 1, "has_read": 1, "then": "start"}
    )

    assert first.url == reverse("instructions", args=["help"])
    assert then.url == reverse("practice", args=["help"])
    assert "Practice comparison 1 of 3" in page(client, "practice", "help")


def test_an_answer_is_explained_and_the_next_item_follows(client, campaign, person):
    answer = pick(client, campaign, person, 1, is_right=False).content.decode()

    assert "We see this one differently: response" in answer
    assert "Because of 1." in answer
    assert "Practice comparison 2 of 3" in page(client, "practice", "help")


def test_the_script_gets_the_explanation_as_a_stage(client, campaign, person):
    answer = pick(client, campaign, person, 1, is_right=True, accept="application/json").json()

    assert answer["dock"] == "next"
    assert "Because of 1." in answer["stage"]
    assert answer["said"].startswith("We see it the same way: response")


def test_the_reason_names_the_letters_that_the_person_sees(client):
    campaign = live_campaign(slug="help")
    words = replace(item(1, known_side="B"), why="{right} is short; {other} made things up.")
    publishing.publish(
        campaign, items=[words], pass_mark=1, attempts=1, based_on=0,
        actor=make_account("administrator"),
    )  # fmt: skip

    seen = set()
    while seen != {"A", "B"}:
        person = agreed_person(campaign)
        client.force_login(person.account)
        explained = pick(client, campaign, person, 1, is_right=True).content.decode()
        right = re.search(r"response ([AB]) is the one to pick", explained)[1]
        other = {"A": "B", "B": "A"}[right]
        assert f"{right} is short; {other} made things up." in explained
        seen.add(right)


def test_the_explanation_shows_both_responses_and_marks_the_persons_own(client, campaign, person):
    answer = pick(client, campaign, person, 1, is_right=False).content.decode()

    first, second = re.findall(r"<article.*?</article>", answer, re.DOTALL)
    own = first if "Poor 1." in first else second
    assert ["your pick" in each for each in (first, second)] == [own is first, own is second]
    assert "<details" not in answer.partition('id="turns"')[2]


def test_the_known_side_is_not_in_the_page_before_the_answer(client, campaign, person):
    text = page(client, "practice", "help")

    assert "Good 1." in text
    assert "Because of" not in text
    assert "known" not in text


def test_who_passes_can_start(client, campaign, person):
    for number in (1, 2, 3):
        pick(client, campaign, person, number, is_right=number < 3)

    text = page(client, "practice", "help")
    assert "2 of 3 were as in our examples." in text
    started = client.post(reverse("start_work", args=["help"]))
    assert started.url.startswith("/conversations/")


def test_who_does_not_pass_reads_it_kindly_and_tries_again(client, campaign, person):
    practise(campaign, person, right=1)

    between = page(client, "practice", "help")
    again = page(client, "practice", "help", data={"again": 1})

    assert "1 of 3 were as in our examples; 2 are needed." in between
    assert "You can try once more." in between
    assert "Practice comparison 1 of 3" in again


def test_after_the_last_try_the_work_stays_closed(client, campaign, person):
    practise(campaign, person, right=1)
    practise(campaign, person, right=0, number=2)

    assert "this work stays closed for now" in page(client, "practice", "help")
    assert "This work stays closed for now" in page(client, "campaign_home", "help")
    started = client.post(reverse("start_work", args=["help"]))
    assert started.url == reverse("campaign_home", args=["help"])
    assert not person.assignments.exists()


def test_practice_asked_for_in_the_middle_of_the_work_does_not_stand_before_it(client):
    late = live_campaign(slug="late")
    conversation = begun(late)
    client.force_login(conversation.crowdworker.account)
    with_practice(late, items=1, pass_mark=1)

    home = page(client, "campaign_home", "late")
    started = client.post(reverse("start_work", args=["late"]))

    assert "Conversation 1 of 5" in home
    assert "practice" not in home
    assert started.url == reverse("conversation", args=[conversation.public_id])
    opened = client.get(reverse("practice", args=["late"]))
    assert opened.url == reverse("campaign_home", args=["late"])


def test_a_refusal_for_want_of_practice_leads_there(client):
    late = live_campaign(slug="late")
    conversation = begun(late)
    conversation.assignment = None
    conversation.save(update_fields=["assignment"])
    Assignment.objects.update(state=Assignment.State.RETURNED)
    client.force_login(conversation.crowdworker.account)
    with_practice(late)
    address = reverse("say", args=[conversation.public_id])
    message = {"text": "Hello", "message_key": uuid.uuid4(), "after": 0}

    plain = client.post(address, message)
    script = client.post(address, message, headers={"accept": "application/json"})

    link = {"url": reverse("practice", args=["late"]), "words": "Do the practice"}
    assert (script.status_code, script.json()["way_out"]) == (409, link)
    assert f'<a href="{link["url"]}">Do the practice</a>' in plain.content.decode()


def test_the_list_of_work_says_what_is_closed_for_now(client, campaign, person):
    assert "Closed for now" not in page(client, "home")
    practise(campaign, person, right=1)
    assert "Closed for now" not in page(client, "home")
    practise(campaign, person, right=0, number=2)

    assert "Closed for now" in page(client, "home")
    client.force_login(agreed_person(campaign).account)
    assert "Closed for now" not in page(client, "home")


def test_an_answer_from_an_old_tab_changes_nothing(client, campaign, person):
    practise(campaign, person, right=3)

    late = pick(client, campaign, person, 1, is_right=False, attempt=2, accept="application/json")

    assert late.status_code == 409
    assert QualificationAnswer.objects.count() == 3
    assert QualificationResult.objects.get().is_passed


ROW = {"prompt": "Q?", "response_a": "x", "response_b": "y", "known_side": "B", "why": "Y is."}


def sent(**changes):
    row = {f"item-0-{name}": value for name, value in ROW.items()}
    forms = {"item-TOTAL_FORMS": 1, "item-INITIAL_FORMS": 0}
    return {"pass_mark": 1, "attempts": 2, "based_on": 0, "lines": "", **forms, **row, **changes}


def test_staff_publish_from_the_form_and_switch_off(client):
    live_campaign(slug="other")
    client.force_login(make_account("administrator"))
    url = reverse("manage_practice", args=["other"])

    answer = client.post(url, sent())

    assert answer.status_code == 302
    published = Qualification.objects.get()
    assert published.items.values(*ROW).get() == ROW
    assert "Version 1 is in force: 1 of 1 right, 2 tries." in client.get(url).content.decode()
    client.post(reverse("manage_practice_off", args=["other"]))
    published.refresh_from_db()
    assert published.retired_at is not None


def test_staff_read_why_a_set_cannot_be_published(client):
    live_campaign(slug="other")
    client.force_login(make_account("administrator"))

    answer = client.post(reverse("manage_practice", args=["other"]), sent(pass_mark=2))

    assert "The pass mark is 1 to 1" in answer.content.decode()
    assert "Y is." in answer.content.decode()
    assert not Qualification.objects.exists()


def test_a_reason_that_names_a_side_by_its_letter_is_refused(client):
    live_campaign(slug="other")
    client.force_login(make_account("administrator"))
    address = reverse("manage_practice", args=["other"])

    asked = client.get(address).content.decode()
    typed = client.post(address, sent(**{"item-0-why": "**B** is true and short."}))
    pasted = client.post(address, sent(lines=json.dumps(ROW | {"why": "So _A_ it is."})))
    for begins in ("A answers what was asked.", "Short. A is true.", "A and B differ."):
        again = client.post(address, sent(**{"item-0-why": begins})).content.decode()
        assert "the reason says A, but sides differ" in again

    assert "Do not write A or B: sides differ per person." in asked
    assert "item 1: the reason says B, but sides differ per person." in typed.content.decode()
    assert "line 1: the reason says A, but sides differ per person." in pasted.content.decode()
    assert not Qualification.objects.exists()
    client.post(
        address,
        sent(**{"item-0-why": "A short reply is enough: {right} ABBA, {other} Bees. A vitamin."}),
    )
    assert Qualification.objects.exists()
