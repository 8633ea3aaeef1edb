"""The log names what went wrong and where, without the secrets that stand in addresses."""

import io
import logging

import pytest
from django.db import OperationalError, connections
from django.test import Client

pytestmark = pytest.mark.django_db
ADDRESSES = ["/sign-in/link/hush-hush_1/", "/join/hush-hush_1/"]


@pytest.fixture
def written(monkeypatch) -> io.StringIO:
    """What goes to the console, and so into the log."""
    text = io.StringIO()
    for handler in logging.getLogger().handlers:
        if type(handler) is logging.StreamHandler:
            monkeypatch.setattr(handler, "stream", text)
    return text


@pytest.mark.parametrize("address", ADDRESSES)
def test_a_secret_address_is_cut_where_the_database_is_away(monkeypatch, written, address):
    def fail(*_arguments, **_named):
        raise OperationalError("database is locked")

    for way_in in ("cursor", "_prepare_cursor"):
        monkeypatch.setattr(type(connections["default"]), way_in, fail)

    answer = Client(raise_request_exception=False).post(address)

    assert answer.status_code == 503
    cut = address.replace("hush-hush_1", "-")
    assert f"POST {cut}: the database does not answer (database is locked)" in written.getvalue()
    assert f"Service Unavailable: {cut}" in written.getvalue()
    assert "hush" not in written.getvalue()


@pytest.mark.parametrize("address", ADDRESSES)
def test_a_secret_address_is_cut_where_a_form_is_refused(written, address):
    answer = Client(enforce_csrf_checks=True).post(address)

    assert answer.status_code == 403
    assert f": {address.replace('hush-hush_1', '-')}" in written.getvalue()
    assert "hush" not in written.getvalue()


def test_what_is_no_secret_is_written_whole(written):
    logging.getLogger("labelapp").warning("GET %s: %s", "/join/", "/work/join-us/ /sign-in/")

    assert "labelapp: GET /join/: /work/join-us/ /sign-in/" in written.getvalue()
