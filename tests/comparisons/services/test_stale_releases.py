"""A release says that it is out of date, however a withdrawal and its cut fall together."""

import threading

import pytest
from django.db import connection, transaction
from django.utils.timezone import now

from comparisons.models import Comparison, Conversation, Crowdworker, DatasetRelease, Flag
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

    release = cut_with(monkeypatch, "holds_what_left", lambda: withdrawal.withdraw(person))

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


@pytest.mark.django_db
def test_what_is_undone_or_flagged_while_it_is_cut_makes_it_no_older(monkeypatch):
    comparison = make_comparison(make_conversation())

    def undo() -> None:
        Comparison.objects.filter(pk=comparison.pk).update(superseded_at=now())
        Flag.objects.create(
            turn=comparison.turn, crowdworker=comparison.crowdworker, kind="personal_data"
        )

    release = cut_with(monkeypatch, "publish", undo)

    assert (release.state, release.stale_at) == (DatasetRelease.State.FROZEN, None)


@pytest.mark.django_db
def test_a_release_cut_while_a_withdrawal_went_on_is_marked_at_its_end(
    django_capture_on_commit_callbacks, monkeypatch
):
    person = two_people()
    with django_capture_on_commit_callbacks(execute=True):
        withdrawal.withdraw(person)
        # as a cut beside it: it read all, and saw nothing of what is not committed yet
        Comparison.objects.update(set_aside_at=None, set_aside_cause="")
        Conversation.objects.update(is_withdrawn=False)
        Crowdworker.objects.update(standing="active")
        release = releasing.cut_release("r-1", test_percent=0)
        assert release.stale_at is None
        Comparison.objects.filter(crowdworker=person).update(set_aside_cause="withdrawn")

    release.refresh_from_db()
    assert release.stale_at is not None
