"""Whoever tries passwords is slowed down; the owner of a name still signs in from their usual place."""

import pytest
from django.test import Client
from django.urls import reverse

from comparisons.models import RateWindow
from comparisons.services.accounts import make_sign_in_link
from tests.comparisons.making import PASSWORD, make_account

pytestmark = pytest.mark.django_db

USUAL, NEW = "192.0.2.1", "192.0.2.2"


def tried(name: str, password: str = "x", *, address: str) -> int:
    """The status of one sign-in from there, by a browser without a session."""
    pair = {"username": name, "password": password}
    return Client().post(reverse("sign_in"), pair, REMOTE_ADDR=address).status_code


def attacked(name: str, *, addresses: int) -> list[int]:
    """What the last of eleven tries from each of many addresses was answered."""
    froms = [f"198.51.100.{number}" for number in range(addresses)]
    return [[tried(name, address=each) for _time in range(11)][-1] for each in froms]


def test_one_address_never_uses_up_the_tries_of_a_name():
    account = make_account("administrator")

    refused = [tried(account.username, address=NEW) for _time in range(60)]

    assert refused == [422] * 10 + [429] * 50
    assert tried(account.username, PASSWORD, address=USUAL) == 302


def test_many_addresses_do_not_shut_the_owner_out_from_where_they_signed_in():
    account = make_account("administrator")
    assert tried(account.username, PASSWORD, address=USUAL) == 302

    attacked(account.username, addresses=6)

    assert tried(account.username, PASSWORD, address=NEW) == 429
    assert tried(account.username, PASSWORD, address=USUAL) == 302


def test_a_one_time_link_makes_its_address_known():
    account = make_account("administrator")
    attacked(account.username, addresses=6)
    assert tried(account.username, PASSWORD, address=USUAL) == 429

    Client().post(make_sign_in_link(account), REMOTE_ADDR=USUAL)

    assert tried(account.username, PASSWORD, address=USUAL) == 302


def test_a_known_address_has_ten_tries_as_any_other():
    account = make_account()
    tried(account.username, PASSWORD, address=USUAL)

    assert [tried(account.username, address=USUAL) for _time in range(11)] == [422] * 10 + [429]


def test_what_is_refused_leaves_no_row_for_each_name():
    names = [f"made-up-{number}" for number in range(230)]

    statuses = [tried(name, address=NEW) for name in names]

    assert statuses == [422] * 200 + [429] * 30
    assert RateWindow.objects.count() == 1 + 2 * 200
