"""A database that is locked, full or away is said to be so: 503, when to come again, and what was typed on the page."""

import sqlite3
import uuid

import pytest
from django.db import InterfaceError, OperationalError, ProgrammingError, connections
from django.test import Client, RequestFactory
from django.urls import reverse

from comparisons.models import Account
from comparisons.services.together import NotStored
from comparisons.web.error_views import is_away, server_error

pytestmark = pytest.mark.django_db


def caused(error: OperationalError, *, code: int) -> OperationalError:
    cause = sqlite3.OperationalError()
    cause.sqlite_errorcode = code
    error.__cause__ = cause
    return error


@pytest.fixture
def no_database(monkeypatch):
    """Every statement fails, as it does when the queue of writers is full for too long."""

    def fail(*_arguments, **_named):
        raise OperationalError("database is locked: another process writes")

    for way_in in (
        "cursor",
        "_prepare_cursor",
    ):  # prepared questions go by the second on PostgreSQL
        monkeypatch.setattr(type(connections["default"]), way_in, fail)


@pytest.fixture
def browser():
    account = Account.objects.create_user(username="ada", role="administrator")
    client = Client(raise_request_exception=False)
    client.force_login(account)
    return client


@pytest.mark.parametrize("address", ["/", "/lab/runs/", "/manage/"])
def test_a_page_says_so_and_when_to_come_again(browser, no_database, address):
    answer = browser.get(address)

    assert (answer.status_code, answer["Retry-After"]) == (503, "2")
    assert "The database does not answer just now" in answer.content.decode()
    assert f'href="{address}"' in answer.content.decode()


def test_a_script_gets_it_as_json(browser, no_database):
    answer = browser.post(
        reverse("say", args=[uuid.uuid4()]), {"text": "hi"}, headers={"accept": "application/json"}
    )

    assert (answer.status_code, answer["Retry-After"]) == (503, "2")
    assert answer.json() | {"message": ""} == {"error": "away", "message": "", "retry_after": 2}


def test_a_form_can_be_sent_again_as_it_was(browser, no_database):
    address = reverse("begin_iteration")

    page = browser.post(address, {"name": 'My <"text"', "pick": ["1", "2"]}).content.decode()

    assert f'action="{address}"' in page
    assert '<input type="hidden" name="name" value="My &lt;&quot;text&quot;">' in page
    assert [f'name="pick" value="{n}"' in page for n in (1, 2)] == [True, True]
    assert "It is kept on this page" in page


def test_a_secret_is_not_written_into_the_page(no_database):
    browser = Client(raise_request_exception=False)

    page = browser.post(reverse("sign_in"), {"username": "ada", "password": "hush hush"})

    assert page.status_code == 503
    assert "hush" not in page.content.decode()


def test_an_act_can_be_sent_again_without_the_password_that_confirmed_it(browser, no_database):
    fields = {"reason": "broken", "confirming_password": "hush hush"}

    page = browser.post(reverse("roll_back", args=[1]), fields).content.decode()

    assert 'name="reason" value="broken"' in page
    assert "hush" not in page
    assert "confirming_password" not in page


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OperationalError("the connection is closed"), True),
        (InterfaceError("connection already closed"), True),
        (NotStored("send it again"), True),
        (caused(OperationalError("database is locked"), code=sqlite3.SQLITE_BUSY), True),
        (caused(OperationalError("database or disk is full"), code=sqlite3.SQLITE_FULL), True),
        (caused(OperationalError("disk I/O error"), code=sqlite3.SQLITE_IOERR_FSYNC), True),
        (caused(OperationalError("no such table"), code=sqlite3.SQLITE_ERROR), False),
        (ProgrammingError("syntax error"), False),
        (ValueError("no"), False),
        (None, False),
    ],
)  # fmt: skip
def test_only_what_passes_by_itself_counts_as_away(error, expected):
    assert is_away(error) is expected


def test_the_api_says_it_too(browser, no_database):
    answer = browser.get("/api/v1/runs/")

    assert (answer.status_code, answer["Retry-After"]) == (503, "2")


def test_a_fault_of_ours_stays_one():
    try:
        raise ProgrammingError("syntax error")
    except ProgrammingError:
        answer = server_error(RequestFactory().get("/"))

    assert (answer.status_code, answer.has_header("Retry-After")) == (500, False)
