"""Errors below /api/ have the API's form, also those that are raised before or outside its views."""

import pytest
from django.db import OperationalError
from django.test import Client
from django.urls import reverse

from comparisons.api import views
from comparisons.services.accounts import make_api_token
from tests.comparisons.making import make_account

pytestmark = pytest.mark.django_db


@pytest.fixture
def ask():
    token = make_api_token(make_account("researcher"), name="t", scope="run")
    client = Client(raise_request_exception=False)

    def answer(method, address, **headers):
        return getattr(client, method)(address, HTTP_AUTHORIZATION=f"Bearer {token}", **headers)

    return answer


def said(answer):
    """The one sentence of an error in the API's form."""
    assert answer["Content-Type"] == "application/json"
    (name,) = answer.json()
    assert name == "detail"
    return answer.json()["detail"]


@pytest.mark.parametrize("accept", ["*/*", "application/json", "text/html"])
@pytest.mark.parametrize("method", ["get", "post"])
@pytest.mark.parametrize("address", ["/api/v1/nowhere/", "/api/v1/runs/7/", "/api/v2/"])
def test_an_unknown_address_is_a_404_that_names_the_description(ask, address, method, accept):
    answer = ask(method, address, HTTP_ACCEPT=accept)

    assert answer.status_code == 404
    assert reverse("api_schema") in said(answer)


def test_a_page_that_is_not_there_stays_a_page(ask):
    answer = ask("get", "/nowhere/")

    assert (answer.status_code, answer["Content-Type"]) == (404, "text/html; charset=utf-8")


def test_a_host_that_is_not_ours_is_a_400_in_the_form_of_what_was_asked(ask):
    answer = ask("get", reverse("api_releases"), HTTP_HOST="elsewhere.example")
    page = ask("get", reverse("sign_in"), HTTP_HOST="elsewhere.example")

    assert answer.status_code == page.status_code == 400
    assert "cannot be read" in said(answer)
    assert page["Content-Type"] == "text/html; charset=utf-8"


def test_a_method_that_is_not_taken_is_a_405(ask):
    answer = ask("delete", reverse("api_releases"), HTTP_ACCEPT="*/*")

    assert answer.status_code == 405
    assert "not allowed" in said(answer)


@pytest.mark.parametrize(
    ("failure", "status", "words"),
    [
        (OperationalError("the connection is closed"), 503, "The database does not answer"),
        (RuntimeError("no"), 500, "Something broke on our side. Reference "),
    ],
)
def test_a_failure_of_ours_is_told_in_the_same_form(ask, monkeypatch, failure, status, words):
    def fail(_objective):
        raise failure

    monkeypatch.setattr(views, "leaderboard", fail)

    answer = ask("get", reverse("api_leaderboard", args=["helpful"]))

    assert (answer.status_code, answer.has_header("Retry-After")) == (status, status == 503)
    assert said(answer).startswith(words)
