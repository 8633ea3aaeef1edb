"""Two administrators with the same campaign open: neither takes back what the other changed without knowing."""

import itertools
from contextlib import contextmanager
from decimal import Decimal
from functools import partial

import pytest
from django.db import connection
from django.test import Client
from django.urls import reverse

from comparisons.models import AuditEntry, Campaign
from comparisons.services.campaigns import change_campaign
from tests.comparisons.making import make_account, make_campaign

pytestmark = pytest.mark.django_db


@pytest.fixture
def campaign():
    return make_campaign(slug="busy", title="Busy", opinion_pay="0.05", red_team_daily_cap=60)


def administrator(name: str) -> Client:
    client = Client()
    client.force_login(make_account("administrator", name=name))
    return client


def opened(client: Client) -> dict[str, object]:
    """What the page's form would post as it stands."""
    return posted(client.get(reverse("manage_campaign", args=["busy"])).context["form"])


def posted(form) -> dict[str, object]:
    shown = {name: form[name].value() for name in form.fields}
    return {key: each for key, each in shown.items() if each is not None and each is not False}


def save(client: Client, typed: dict[str, object]):
    return client.post(reverse("manage_campaign", args=["busy"]), typed | {"publish": "1"})


def test_what_only_the_other_changed_stands(campaign):
    ada, bo = administrator("ada"), administrator("bo")
    of_ada, of_bo = opened(ada), opened(bo)

    save(bo, of_bo | {"opinion_pay": "0.10", "red_team_daily_cap": "20"})
    answer = save(ada, of_ada | {"title": "Busy people"})

    campaign.refresh_from_db()
    assert (campaign.title, campaign.opinion_pay, campaign.red_team_daily_cap) == (
        "Busy people", Decimal("0.10"), 20,
    )  # fmt: skip
    page = " ".join(ada.get(answer["Location"]).content.decode().split())
    assert "Saved: Title." in page
    assert (
        "Kept as bo changed it meanwhile: Pay for a second opinion; Red team: responses per person and day."
        in page
    )
    assert [entry.detail for entry in AuditEntry.objects.filter(action="campaign.change")] == [
        {"opinion_pay": ["0.050", "0.10"], "red_team_daily_cap": ["60", "20"]},
        {"title": ["Busy", "Busy people"]},
    ]


def test_what_both_changed_is_shown_before_it_is_stored(campaign):
    ada, bo = administrator("ada"), administrator("bo")
    of_ada, of_bo = opened(ada), opened(bo)
    save(bo, of_bo | {"opinion_pay": "0.10", "red_team_daily_cap": "20"})

    answer = save(ada, of_ada | {"opinion_pay": "0.07", "title": "Busy people"})

    assert answer.status_code == 409
    campaign.refresh_from_db()
    assert (campaign.title, campaign.opinion_pay) == ("Busy", Decimal("0.10"))
    said = " ".join(answer.content.decode().split())
    assert "bo changed opinion pay from 0.050 to 0.100" in said
    form = answer.context["form"]
    shown = {
        name: str(form[name].value()) for name in ("title", "opinion_pay", "red_team_daily_cap")
    }
    assert shown == {"title": "Busy people", "opinion_pay": "0.07", "red_team_daily_cap": "20"}

    save(ada, posted(form))

    campaign.refresh_from_db()
    assert (campaign.title, campaign.opinion_pay, campaign.red_team_daily_cap) == (
        "Busy people", Decimal("0.07"), 20,
    )  # fmt: skip


def test_a_page_that_does_not_say_what_it_is_based_on_takes_nothing_back(campaign):
    bo = administrator("bo")
    stale = {key: value for key, value in opened(bo).items() if key != "based_on"}
    save(bo, opened(bo) | {"red_team_daily_cap": "20"})

    save(bo, stale)

    assert Campaign.objects.get().red_team_daily_cap == 20


def test_saving_twice_from_the_same_person_is_no_conflict(campaign):
    bo = administrator("bo")
    save(bo, opened(bo) | {"title": "One"})
    save(bo, opened(bo) | {"title": "Two"})

    assert Campaign.objects.get().title == "Two"


@contextmanager
def acting_before_query(number: int, act):
    """Act once, before the query of this number outside transactions; yields whether it came to that."""
    seen, done = itertools.count(), []

    def look(execute, sql, *rest):
        is_between = not connection.savepoint_ids and "SAVEPOINT" not in sql
        if is_between and not done and next(seen) == number:
            done.append(True)
            act()
        return execute(sql, *rest)

    with connection.execute_wrapper(look):
        yield done


def change(actor, **changes) -> None:
    change_campaign(Campaign.objects.get(), changes=changes, actor=actor)


def test_what_changes_while_a_page_is_made_stands(campaign):
    ada, bo = administrator("ada"), make_account("administrator", name="bo")

    for number in itertools.count():
        of_bo = partial(change, bo, red_team_daily_cap=100 + number)
        with acting_before_query(number, of_bo) as done:
            of_ada = opened(ada)
        save(ada, of_ada | {"title": f"Ada's {number}"})
        campaign.refresh_from_db()
        if not done:
            break
        assert (campaign.title, campaign.red_team_daily_cap) == (f"Ada's {number}", 100 + number)

    assert number > 5


def test_what_changes_while_a_conflict_is_shown_stands(campaign):
    ada, bo = administrator("ada"), make_account("administrator", name="bo")

    for number in itertools.count():
        of_ada = opened(ada) | {"title": f"Ada's {number}"}
        change(bo, title=f"Bo's {number}")
        of_bo = partial(change, bo, red_team_daily_cap=100 + number)
        with acting_before_query(number, of_bo) as done:
            answer = save(ada, of_ada)
        assert answer.status_code == 409
        save(ada, posted(answer.context["form"]))
        campaign.refresh_from_db()
        if not done:
            break
        assert (campaign.title, campaign.red_team_daily_cap) == (f"Ada's {number}", 100 + number)

    assert number > 5
