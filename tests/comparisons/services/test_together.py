"""Choices that share a transaction: each is acknowledged after COMMIT, each fails alone or with all."""

import threading

import pytest
from django.db import connection, connections, transaction

from comparisons.models import RateWindow
from comparisons.services import together
from comparisons.services.together import NotStored, stored_together

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor != "sqlite", reason="PostgreSQL does this by itself"),
]


def kept(key: str):
    def work() -> str:
        RateWindow.objects.create(key=key, ends_at="2026-01-01T00:00Z")
        return key

    return work


def refused(key: str):
    def work() -> str:
        kept(key)()
        raise ValueError(key)

    return work


def given_up() -> str:
    """What a full disk does: SQLite drops the whole transaction, not one statement."""
    with connection.cursor() as cursor:
        cursor.execute("ROLLBACK")
        cursor.execute("INSERT INTO no_such_table VALUES (1)")
    return ""


def all_at_once(*works) -> list:
    """Each in a thread; the first holds the turn until all others wait."""
    outcomes: list = [None] * len(works)

    def run(number, work):
        try:
            outcomes[number] = stored_together(work)
        except (ValueError, NotStored, together.DatabaseError) as failure:
            outcomes[number] = failure
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=each) for each in enumerate(works)]
    with together._turn:
        for thread in threads:
            thread.start()
        while len(together._waiting) < len(works):
            pass
    for thread in threads:
        thread.join()
    return outcomes


def stored() -> set[str]:
    return set(RateWindow.objects.values_list("key", flat=True))


@pytest.fixture
def commits(monkeypatch):
    made = []
    wrapper = type(connections["default"])
    real = wrapper._commit

    def counted(self):
        made.append(1)
        real(self)

    monkeypatch.setattr(wrapper, "_commit", counted)
    return made


def test_what_waits_is_stored_in_one_transaction(commits):
    names = [f"k{number}" for number in range(8)]

    outcomes = all_at_once(*(kept(name) for name in names))

    assert outcomes == names
    assert stored() == set(names)
    assert len(commits) == 1


def test_more_than_fit_go_into_the_next_one(commits):
    names = [f"k{number}" for number in range(together.MOST + 3)]

    assert all_at_once(*(kept(name) for name in names)) == names
    assert stored() == set(names)
    assert len(commits) == 2


def test_one_that_is_refused_undoes_only_itself():
    first, second, third = all_at_once(kept("a"), refused("b"), kept("c"))

    assert (first, third) == ("a", "c")
    assert isinstance(second, ValueError)
    assert stored() == {"a", "c"}


def test_nobody_is_told_that_something_is_stored_when_the_transaction_was_given_up():
    outcomes = all_at_once(kept("a"), given_up, kept("c"))

    assert [isinstance(each, together.DatabaseError) for each in outcomes] == [True] * 3
    assert stored() == set()
    assert stored_together(kept("later")) == "later"


def test_inside_a_transaction_it_is_part_of_that():
    def both() -> None:
        with transaction.atomic():
            stored_together(kept("a"))
            stored_together(refused("b"))

    with pytest.raises(ValueError, match="b"):
        both()

    assert stored() == set()
