"""One person at two doors at once: one account, one open piece of work for each campaign, nobody turned away."""

import threading

import pytest
from django.db import connections

from comparisons.models import Account, Arrival, Assignment, Crowdworker
from tests.comparisons.arriving import PERSON, arrive, make_source, prolific
from tests.comparisons.talking import live_campaign

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("bell")]


def at_once(*doors) -> list:
    """Everybody goes through their door at the same moment; what each got, or what went wrong."""
    start, got = threading.Barrier(len(doors)), []

    def come(source, visit) -> None:
        try:
            start.wait(10)
            got.append(arrive(source, visit))
        except Exception as error:  # noqa: BLE001 -- a thread's end: looked at below
            got.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=come, args=door) for door in doors]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return got


def visit(number: int, *, person: str = PERSON) -> dict[str, str]:
    return prolific(person=person, study=f"study{number}", submission=f"submission{number}")


@pytest.mark.parametrize("is_known", [False, True], ids=["new", "known"])
@pytest.mark.parametrize("campaigns", [1, 2])
def test_one_person_at_two_sources_at_once_is_one_account(is_known, campaigns):
    first = live_campaign()
    second = first if campaigns == 1 else live_campaign(names=("x", "y"))
    doors = [(make_source(each), visit(place)) for place, each in enumerate((first, second))]
    if is_known:
        arrive(make_source(live_campaign(names=("p", "q"))), visit(9))
    before = Assignment.objects.count()

    got = at_once(*doors)

    assert all(isinstance(each, Assignment) for each in got), got
    assert Crowdworker.objects.count() == Account.objects.count() == 1
    assert Assignment.objects.count() == Arrival.objects.count() == before + 2
    states = sorted(each.state for each in Assignment.objects.filter(campaign=first))
    assert states == (["preview", "returned"] if campaigns == 1 else ["preview"])


def test_one_submission_in_many_tabs_at_once_is_one_assignment():
    source = make_source(live_campaign())

    got = at_once(*[(source, visit(1))] * 6)

    assert {getattr(each, "pk", each) for each in got} == {Assignment.objects.get().pk}
    assert Crowdworker.objects.count() == Account.objects.count() == 1


def test_many_people_at_two_sources_at_once_are_as_many_accounts():
    campaign = live_campaign()
    sources = [make_source(campaign), make_source(campaign)]

    got = at_once(*[
        (sources[number % 2], visit(number, person=f"person{number // 2}")) for number in range(8)
    ])  # fmt: skip

    assert all(isinstance(each, Assignment) for each in got), got
    assert Crowdworker.objects.count() == Account.objects.count() == 4
    still_open = Assignment.objects.filter(state="preview").values_list("crowdworker", flat=True)
    assert sorted(still_open) == sorted(set(Crowdworker.objects.values_list("pk", flat=True)))


def test_one_submission_at_two_sources_at_once_is_one_persons():
    campaign = live_campaign()
    doors = [
        (make_source(campaign, label=name), prolific(person=name, study=name))
        for name in ("one", "two")
    ]

    got = at_once(*doors)

    assert sorted(type(each).__name__ for each in got) == ["ArrivalRefused", "Assignment"], got
    assert Assignment.objects.count() == Arrival.objects.count() == 1
