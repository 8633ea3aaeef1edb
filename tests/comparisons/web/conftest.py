"""An administrator at a clock that stands still, and an act that asks who they are."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from comparisons.models import Account, Crowdworker
from tests.comparisons.making import PASSWORD, make_account, make_crowdworker


@pytest.fixture
def minute(monkeypatch) -> Callable[[float], None]:
    """`minute(n)` puts the clock n minutes after the test began."""
    began = timezone.now()

    def put(minutes: float) -> None:
        at = began + timedelta(minutes=minutes)
        monkeypatch.setattr(timezone, "now", lambda: at)

    put(0)
    return put


@pytest.fixture
def admin(db) -> Account:
    """Nobody is signed in."""
    return make_account("administrator")


@pytest.fixture
def staff(admin, minute) -> Client:
    """The administrator, signed in by name and password in minute 0."""
    client = Client()
    fields = {"username": admin.username, "password": PASSWORD}
    assert client.post(reverse("sign_in"), fields).status_code == 302
    return client


@pytest.fixture
def suspend(db):
    """An act: its address, what its form sends, and the person it is done to."""
    person = make_crowdworker()
    fields = {"outcome": "suspend", "reason": 'Always <"left">, & fast', "more": ["1", "2"]}
    return reverse("manage_outcome", args=[person.public_id]), fields, lambda: _is_suspended(person)


def _is_suspended(person: Crowdworker) -> bool:
    person.refresh_from_db()
    return person.standing == Crowdworker.Standing.SUSPENDED
