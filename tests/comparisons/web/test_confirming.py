"""Acts that do harm in the wrong hands ask who one is: from the 16th minute on, and nothing typed is lost."""

import re

import pytest
from django.test import Client
from django.urls import reverse

from comparisons.models import ApiToken, Crowdworker
from comparisons.services.accounts import make_sign_in_link
from tests.comparisons.confirming import FIELD, action, hidden_fields, never_asked
from tests.comparisons.making import (
    PASSWORD,
    make_account,
)

pytestmark = pytest.mark.django_db

NEW = "quite another long one"
WRONG = "a wrong long password"
MISFIT = "This is not your password."


def test_the_fifteenth_minute_does_not_ask_and_the_sixteenth_does(staff, minute, suspend):
    address, fields, is_done = suspend

    minute(15)
    asked = staff.post(address, fields)
    was_done = is_done()
    minute(14.9)
    done = staff.post(address, fields)

    assert (asked.status_code, was_done) == (403, False)
    assert "Confirm that it is you" in asked.content.decode()
    assert (done.status_code, is_done()) == (302, True)


def test_the_password_sends_the_same_form_on_and_holds_for_the_next_minutes(staff, minute, suspend):
    address, fields, is_done = suspend
    minute(16)
    page = staff.post(address, fields).content.decode()
    kept = hidden_fields(page)
    token = kept.pop("csrfmiddlewaretoken")

    answer = staff.post(action(page), kept | {FIELD: PASSWORD})
    minute(30.9)
    next_act = staff.post(reverse("manage_api"), {"name": "t", "scope": "read", "days": "1"})

    assert len(token) == 1
    assert kept == {name: value if name == "more" else [value] for name, value in fields.items()}
    assert action(page) == address
    assert (answer.status_code, is_done()) == (302, True)
    assert Crowdworker.objects.get(standing="suspended").standing_reason == fields["reason"]
    assert next_act.status_code == 200


def test_the_page_says_what_waits_and_leads_back(staff, minute, suspend):
    address, fields, is_done = suspend
    minute(16)
    page = reverse("manage_crowd") + "?q=kx"

    first = staff.post(address, fields, headers={"Referer": f"http://testserver{page}"})
    kept = hidden_fields(first.content.decode())
    again = staff.post(
        address, kept | {FIELD: WRONG}, headers={"Referer": f"http://testserver{address}"}
    )
    elsewhere = staff.post(address, fields | {"confirming_from": "https://evil.example/"})

    assert "Waiting for it: <b>Suspend a person</b>." in first.content.decode()
    for answer in (first, again):
        assert f'<a class="btn" href="{page}">Cancel</a>' in answer.content.decode()
    assert f'href="{reverse("home")}">Cancel</a>' in elsewhere.content.decode()
    assert "evil.example" not in elsewhere.content.decode().split(">Cancel</a>")[0].split("<a ")[-1]
    assert not is_done()


def test_reading_never_asks(staff, minute):
    minute(60)

    assert staff.get(reverse("manage_release_new")).status_code == 200
    assert staff.get(reverse("manage_api")).status_code == 200


@pytest.mark.parametrize("typed", [WRONG, "", " "])
def test_a_wrong_password_does_nothing_and_keeps_the_form(staff, minute, suspend, typed):
    address, fields, is_done = suspend
    minute(16)

    answer = staff.post(address, fields | {FIELD: typed})

    page = answer.content.decode()
    assert (answer.status_code, is_done()) == (422, False)
    assert (MISFIT in page) == bool(typed)
    assert hidden_fields(page)["reason"] == [fields["reason"]]
    assert FIELD not in hidden_fields(page)
    assert WRONG not in page
    assert staff.post(address, fields).status_code == 403


def test_tries_are_limited_as_at_signing_in_and_the_form_stays(staff, minute, suspend):
    address, fields, is_done = suspend
    minute(16)

    wrong = [staff.post(address, fields | {FIELD: WRONG}).status_code for _ in range(10)]
    limited = staff.post(address, fields | {FIELD: PASSWORD})
    minute(32)
    after = staff.post(address, fields | {FIELD: PASSWORD})

    assert wrong == [422] * 10
    assert limited.status_code == 429
    assert int(limited["Retry-After"]) > 0
    page = limited.content.decode()
    assert re.search(r"A little fast\. Try again in \d+ s\.", page)
    assert hidden_fields(page)["reason"] == [fields["reason"]]
    assert (after.status_code, is_done()) == (302, True)


def test_tries_count_together_with_those_of_the_password_page(staff, minute, suspend):
    address, fields, _is_done = suspend
    minute(16)
    guess = {"current_password": WRONG, "new_password": NEW}

    there = [staff.post(reverse("password"), guess).status_code for _ in range(10)]

    assert there == [422] * 10
    assert staff.post(address, fields | {FIELD: PASSWORD}).status_code == 429


def test_somebody_elses_password_is_none(staff, minute, suspend):
    address, fields, is_done = suspend
    other = make_account("administrator")
    other.set_password(NEW)
    other.save(update_fields=["password"])
    minute(16)

    answer = staff.post(address, fields | {FIELD: NEW, "username": other.username})

    assert (answer.status_code, is_done()) == (422, False)


def test_a_copy_of_the_session_is_not_confirmed_with_it(staff, minute, suspend):
    address, fields, _is_done = suspend
    copy = Client()
    copy.cookies["sessionid"] = staff.cookies["sessionid"].value
    minute(16)

    staff.post(address, fields | {FIELD: PASSWORD})

    assert staff.get(reverse("manage_api")).status_code == 200
    assert copy.get(reverse("manage_api")).url.startswith(reverse("sign_in"))


def test_a_session_that_noted_nothing_is_asked(admin, suspend):
    address, fields, _is_done = suspend

    assert never_asked(admin).post(address, fields).status_code == 403


def test_a_one_time_link_counts_as_signing_in(admin, minute, suspend):
    address, fields, is_done = suspend
    client = Client()
    client.post(make_sign_in_link(admin))

    minute(14)

    assert client.post(address, fields).status_code == 302
    assert is_done()


def test_who_may_not_do_it_is_not_asked(suspend):
    address, fields, _is_done = suspend

    for role in ("researcher", "crowdworker"):
        assert never_asked(make_account(role)).post(address, fields).status_code == 404
    assert Client().post(address, fields).url.startswith(reverse("sign_in"))


def test_what_is_typed_stays_out_of_error_reports(staff, minute, suspend):
    address, fields, _is_done = suspend
    minute(16)

    answers = [staff.post(each, fields | {FIELD: WRONG}) for each in (address, reverse("confirm"))]

    hidden = [set(each.wsgi_request.sensitive_post_parameters) for each in answers]
    assert hidden == [{FIELD}, {FIELD}]


def test_the_minutes_are_a_setting(staff, minute, suspend, settings):
    address, fields, _is_done = suspend
    settings.CONFIRM_MINUTES = 5
    minute(6)

    page = staff.post(address, fields)

    assert page.status_code == 403
    assert "more than 5 min ago" in page.content.decode()


def test_a_token_is_made_only_once_confirmed(staff, minute):
    minute(16)
    fields = {"name": "t", "scope": "read", "days": "1"}

    asked = staff.post(reverse("manage_api"), fields)
    before = ApiToken.objects.count()
    made = staff.post(reverse("manage_api"), fields | {FIELD: PASSWORD})

    assert (asked.status_code, before) == (403, 0)
    assert (made.status_code, ApiToken.objects.count()) == (200, 1)
    assert PASSWORD not in made.content.decode()
