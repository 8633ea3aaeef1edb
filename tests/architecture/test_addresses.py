"""Every address of the product: its headers, its protection, who may see it without signing in."""

import uuid

import pytest
from django.test import Client
from django.urls import get_resolver
from django.urls.converters import IntConverter, UUIDConverter

from comparisons.models import Account
from comparisons.services.accounts import create_account
from comparisons.services.onboarding import make_crowdworker
from comparisons.web.manage_acts import ACTS, CHOICES

OPEN_TO_ALL = {
    "healthz", "readyz", "statusz", "sign_in", "sign_in_link", "sign_out", "preferences", "join",
    "join_by_code",
    "arrive",
}  # fmt: skip
ASKS_BEFORE_IT_CHANGES = {
    "manage_outcome", "manage_release_new", "manage_export", "manage_pay_settle", "manage_arrival_settle", "manage_api",
    "put_on_trial", "promote", "roll_back", "set_traffic",
    "begin_iteration", "start_iteration_now", "retry_step",
}  # fmt: skip
ASKS_BEFORE_IT_DOWNLOADS = {"manage_export_download", "manage_pay_csv", "manage_arrival_pay"}
SAMPLES = {UUIDConverter: uuid.UUID(int=7), IntConverter: 7}


def _patterns(resolver, prefix=""):
    for each in resolver.url_patterns:
        if hasattr(each, "url_patterns"):
            yield from _patterns(each, prefix + str(each.pattern))
        else:
            yield each, prefix + str(each.pattern)


def _address(pattern, route):
    """The route with plausible but foreign arguments."""
    for name, converter in pattern.pattern.converters.items():
        sample = SAMPLES.get(type(converter), "unknown")
        start = route.index("<")
        end = route.index(">") + 1
        assert name in route[start:end]
        route = route[:start] + str(sample) + route[end:]
    return "/" + route


ALL = [(each, _address(each, route)) for each, route in _patterns(get_resolver())]
PAGES = [(each, address) for each, address in ALL if not address.startswith("/api/")]


def _people():
    people = {role: create_account(username=role, role=role) for role in Account.Role.values}
    make_crowdworker(people[Account.Role.CROWDWORKER])
    return people


@pytest.mark.django_db
@pytest.mark.one_database
def test_pages_that_need_no_sign_in_are_listed():
    client = Client()

    is_open = {
        each.name for each, address in PAGES
        if client.get(address).status_code not in {302, 401, 403, 405}
    }  # fmt: skip

    assert is_open <= OPEN_TO_ALL


@pytest.mark.django_db
@pytest.mark.one_database
def test_api_needs_a_token():
    client = Client()
    api = [address for _, address in ALL if address.startswith("/api/")]

    answers = {address: client.get(address).status_code for address in api}

    assert answers
    assert set(answers.values()) <= {401, 403, 404, 405}, answers


@pytest.mark.django_db
@pytest.mark.one_database
@pytest.mark.parametrize("role", Account.Role.values)
def test_every_html_answer_carries_the_strict_policy(role):
    client = Client(raise_request_exception=False)
    client.force_login(_people()[role])
    faults = {}

    for _, address in PAGES:
        answer = client.get(address)
        if answer.streaming or "text/html" not in answer.get("Content-Type", ""):
            continue
        policy = answer.get("Content-Security-Policy", "")
        is_strict = "default-src 'none'" in policy and "unsafe" not in policy
        if answer.status_code >= 500 or not is_strict or "no-store" not in answer["Cache-Control"]:
            faults[address] = (answer.status_code, policy, answer.get("Cache-Control"))

    assert faults == {}


@pytest.mark.django_db
@pytest.mark.one_database
@pytest.mark.parametrize("role", Account.Role.values)
def test_unsafe_methods_without_the_token_are_refused(role):
    client = Client(enforce_csrf_checks=True, raise_request_exception=False)
    client.force_login(_people()[role])

    passed = {}
    for _, address in PAGES:
        answer = client.post(address, {})
        if answer.status_code not in {403, 405}:
            passed[address] = answer.status_code

    assert passed == {}


@pytest.mark.django_db
@pytest.mark.one_database
def test_a_crowdworker_reaches_no_staff_page():
    client = Client(raise_request_exception=False)
    client.force_login(_people()[Account.Role.CROWDWORKER])
    staff = [address for _, address in PAGES if address.startswith(("/manage/", "/lab/"))]

    answers = {address: client.get(address).status_code for address in staff}

    assert answers
    assert set(answers.values()) <= {403, 404, 405}, answers


@pytest.mark.django_db
@pytest.mark.one_database
def test_acts_that_ask_who_one_is_are_listed():
    client = Client(raise_request_exception=False)
    client.force_login(_people()[Account.Role.ADMINISTRATOR])
    session = client.session
    del session["confirmed_at"]
    session.save()

    def asks(answer) -> bool:
        return answer.status_code == 403 and b"Confirm that it is you" in answer.content

    staff = [each for each in PAGES if each[1].startswith(("/manage/", "/lab/"))]
    found = {
        method: {each.name for each, address in staff if asks(getattr(client, method)(address))}
        for method in ("get", "post")
    }

    assert found == {"get": ASKS_BEFORE_IT_DOWNLOADS, "post": ASKS_BEFORE_IT_CHANGES}
    # and the page that asks says for which act
    assert {*ACTS, *CHOICES} == ASKS_BEFORE_IT_DOWNLOADS | ASKS_BEFORE_IT_CHANGES
