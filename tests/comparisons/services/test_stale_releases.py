"""A release says that it is out of date, however a withdrawal and its cut fall together."""

import threading

import pytest
from django.db import connection, transaction

from comparisons.models import Comparison, Crowdworker, DatasetRelease
from comparisons.services import releasing, withdrawal
from comparisons.services.stale_releases import mark_releases_stale
from tests.comparisons.making import make_comparison, make_conversation

SECONDS = 0.5  # long enough for the cut to come to its freeze


def two_people() -> Crowdworker:
    make_comparison(make_conversation())
    return make_comparison(make_conversation(), message="mine").crowdworker


def cut_with(monkeypatch, step: str, then) -> DatasetRelease:
    """A release during whose cut something happens right after one of its steps."""
    real = getattr(releasing, step)

    def stepped(*values):
        found = real(*values)
        then()
        return found

    monkeypatch.setattr(releasing, step, stepped)
    return releasing.cut_release("r-1", test_percent=0)


@pytest.mark.django_db
def test_a_withdrawal_right_after_the_last_look_is_not_overwritten(monkeypatch):
    person = two_people()

    release = cut_with(monkeypatch, "is_out_of_date", lambda: withdrawal.withdraw(person))

    assert (release.state, release.stale_at is None) == (DatasetRelease.State.FROZEN, False)


@pytest.mark.django_db(transaction=True)
def test_the_freeze_waits_for_a_withdrawal_under_way(monkeypatch):
    person = two_people()
    is_withdrawn = threading.Event()

    def withdraw_slowly() -> None:
        try:
            with transaction.atomic():
                withdrawal.withdraw(person)
                is_withdrawn.set()
                threading.Event().wait(SECONDS)
        finally:
            connection.close()

    thread = threading.Thread(target=withdraw_slowly)

    def begin() -> None:
        thread.start()
        assert is_withdrawn.wait(20)

    release = cut_with(monkeypatch, "publish", begin)

    thread.join()
    assert (release.state, release.stale_at is None) == (DatasetRelease.State.FROZEN, False)


@pytest.mark.django_db
def test_only_frozen_releases_that_hold_one_are_marked():
    comparison = make_comparison(make_conversation())
    release = releasing.cut_release("r-1", test_percent=0)
    untouched = make_comparison(make_conversation())
    being_cut = DatasetRelease.objects.create(name="r-2")

    assert mark_releases_stale(Comparison.objects.filter(pk=untouched.pk)) == 0
    assert mark_releases_stale(Comparison.objects.filter(pk=comparison.pk)) == 1

    release.refresh_from_db()
    being_cut.refresh_from_db()
    assert (release.stale_at is None, being_cut.stale_at) == (False, None)
