"""The page of one's own password: what it asks and refuses, and which sessions go on."""

import re

import pytest
from django.conf import settings as django_settings
from django.contrib.auth.hashers import make_password
from django.test import Client
from django.urls import reverse

from comparisons.models import Account
from comparisons.services.accounts import create_account, make_sign_in_link
from comparisons.services.onboarding import make_crowdworker as make_profile
from tests.comparisons.making import PASSWORD, make_account, make_crowdworker

pytestmark = pytest.mark.django_db

NEW = "quite another long one"
WRONG = "a wrong long password"
URL = "/password/"
ROLES = Account.Role.values
NO_PASSWORD_YET = "This account has no password yet."


class ChangedMeanwhile:
    """A validator during whose work somebody else changes the password."""

    def validate(self, _password, user=None) -> None:
        made = make_password("by somebody else")
        Account.objects.filter(pk=user.pk).update(password=made)

    def get_help_text(self) -> str:
        return ""


def signed_in(account: Account) -> Client:
    client = Client()
    client.force_login(account)
    return client


def newcomer(role: str = "researcher") -> Account:
    """An account as a command makes it: no password, and a profile for a crowdworker."""
    account = create_account(username=f"new-{role}", role=role)
    if role == Account.Role.CROWDWORKER:
        make_profile(account)
    return account


def somebody(role: str) -> Account:
    is_crowd = role == Account.Role.CROWDWORKER
    return make_crowdworker().account if is_crowd else make_account(role)


def change(client: Client, *, current: str = PASSWORD, new: str = NEW, **more):
    return client.post(URL, {"current_password": current, "new_password": new}, **more)


def can_sign_in(account: Account, password: str) -> bool:
    fields = {"username": account.username, "password": password}
    return Client().post(reverse("sign_in"), fields).status_code == 302


def is_in(client: Client) -> bool:
    return client.get(reverse("keys")).status_code == 200


def faults(response) -> tuple[int, dict[str, list[str]]]:
    return response.status_code, dict(response.context["form"].errors)


@pytest.mark.parametrize("role", ROLES)
def test_everybody_changes_their_own_password(role):
    account = somebody(role)
    client = signed_in(account)

    page = client.get(URL).content.decode()
    done = change(client)
    home = client.get(done.url, follow=True).content.decode()

    assert NO_PASSWORD_YET not in page
    assert done.url == reverse("home")
    assert "Your password was changed. Other devices were signed out." in home
    assert (can_sign_in(account, PASSWORD), can_sign_in(account, NEW)) == (False, True)


@pytest.mark.parametrize("role", ROLES)
def test_an_account_without_a_password_sets_one_and_is_then_asked_for_it(role):
    account = newcomer(role)
    client = signed_in(account)

    page = client.get(URL).content.decode()
    done = client.post(URL, {"new_password": NEW})
    home = client.get(done.url, follow=True).content.decode()
    again = client.post(URL, {"new_password": "a third long password"})

    assert NO_PASSWORD_YET in page
    assert 'name="current_password"' not in page
    assert f'<a href="{reverse("home")}">Go on without</a>' in page
    assert "Your password is set." in home
    assert faults(again) == (422, {"current_password": ["This field is required."]})
    assert can_sign_in(account, NEW)


def test_fields_say_to_password_managers_what_they_are():
    account = make_account()

    page = signed_in(account).get(URL).content.decode()

    inputs = re.findall(r"<input[^>]*autocomplete[^>]*>", page)
    kinds = [re.search(r'autocomplete="([^"]+)"', each)[1] for each in inputs]
    assert kinds == ["username", "current-password", "new-password"]
    assert f'value="{account.username}"' in inputs[0]
    assert " hidden" in inputs[0]
    assert "name=" not in inputs[0]


def test_other_sessions_end_and_this_one_goes_on_under_a_new_key():
    account = make_account()
    here, there, stranger = signed_in(account), signed_in(account), signed_in(make_account())
    before = here.session.session_key

    change(here)

    assert (is_in(here), is_in(there), is_in(stranger)) == (True, False, True)
    assert here.session.session_key != before
    assert there.get(URL).url == f"{reverse('sign_in')}?next={URL}"


def test_first_password_ends_the_sessions_of_earlier_links():
    account = newcomer()
    here, there = signed_in(account), signed_in(account)

    here.post(URL, {"new_password": NEW})

    assert (is_in(here), is_in(there)) == (True, False)


def test_an_entry_that_met_the_change_does_not_outlive_it():
    before = make_account()
    change(signed_in(Account.objects.get(pk=before.pk)))

    assert not is_in(signed_in(before))


def test_open_links_do_not_outlive_the_change():
    account = make_account()
    link = make_sign_in_link(account)

    change(signed_in(account))

    assert Client().post(link).status_code == 410


@pytest.mark.parametrize(
    ("new", "said"),
    [
        ("short", "This password is too short. It must contain at least 12 characters."),
        ("rowan-of-the-hill", "The password is too similar to the username."),
        ("password12345", "This password is too common."),
        ("8301749265018", "This password is entirely numeric."),
    ],
)
def test_validators_speak_at_the_new_password(new, said):
    account = make_account(name="rowan-of-the-hills")

    answer = change(signed_in(account), new=new)

    assert faults(answer) == (422, {"new_password": [said]})
    assert answer.content.decode().count(said) == 1
    assert can_sign_in(account, PASSWORD)


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ({"current": WRONG}, {"current_password": ["This is not your current password."]}),
        (
            {"current": WRONG, "new": "short"},
            {"current_password": ["This is not your current password."]},
        ),
        ({"new": ""}, {"new_password": ["This field is required."]}),
    ],
)
def test_what_does_not_fit_is_said_at_its_field_and_nothing_typed_comes_back(typed, expected):
    account = make_account()
    client = signed_in(account)

    answer = change(client, **typed)

    assert faults(answer) == (422, expected)
    assert not [each for each in (WRONG, PASSWORD, NEW) if each in answer.content.decode()]
    assert can_sign_in(account, PASSWORD)
    assert is_in(client)


def test_what_is_typed_stays_out_of_error_reports():
    answer = change(signed_in(make_account()))

    hidden = answer.wsgi_request.sensitive_post_parameters
    assert set(hidden) == {"current_password", "new_password"}


def test_wrong_current_passwords_slow_down_as_signing_in_does():
    account = make_account()
    client, signing_in = signed_in(account), Client()
    pair = {"username": make_account().username, "password": WRONG}

    wrong = [change(client, current=WRONG).status_code for _ in range(10)]
    limited = change(client)
    elsewhere = change(client, current=WRONG, REMOTE_ADDR="192.0.2.7")
    for _ in range(10):
        signing_in.post(reverse("sign_in"), pair)
    as_there = signing_in.post(reverse("sign_in"), pair)

    assert wrong == [422] * 10
    assert (limited.status_code, as_there.status_code) == (429, 429)
    assert int(limited["Retry-After"]) > 0
    words = re.compile(r"A little fast\. Try again in \d+ s\.")
    assert words.search(limited.content.decode())
    assert words.search(as_there.content.decode())
    assert elsewhere.status_code == 422
    assert can_sign_in(account, PASSWORD)  # nothing was changed, and signing in is counted apart


def test_weak_new_passwords_of_the_owner_are_not_counted():
    client = signed_in(make_account())

    weak = [change(client, new="short").status_code for _ in range(12)]

    assert weak == [422] * 12
    assert change(client).status_code == 302


def test_a_change_that_another_one_overtook_says_so(settings):
    account = make_account()
    client = signed_in(account)
    settings.AUTH_PASSWORD_VALIDATORS = [{"NAME": f"{__name__}.ChangedMeanwhile"}]

    answer = change(client)

    assert answer.status_code == 409
    assert "Your password was changed elsewhere just now." in answer.content.decode()
    assert can_sign_in(account, "by somebody else")
    assert not is_in(client)


@pytest.mark.parametrize(("language", "said"), [("de", "ist zu kurz"), ("ar", "قصيرة جدًا")])
def test_a_short_password_is_refused_in_the_language_of_the_page(language, said):
    client = signed_in(make_account())
    client.cookies[django_settings.LANGUAGE_COOKIE_NAME] = language

    answer = change(client, new="short")

    assert answer.status_code == 422
    assert said in answer.content.decode()
