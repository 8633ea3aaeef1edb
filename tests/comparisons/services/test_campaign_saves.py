"""Who saves a campaign keeps nobody from beginning work in it, and so never stands in a circle with them."""

import threading

import pytest
from django.db import connection, connections, transaction

from comparisons.models import Assignment, Conversation
from comparisons.services import campaigns, chat, onboarding, paying
from tests.comparisons.making import make_account
from tests.comparisons.talking import agreed_person, live_campaign

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite's writers take turns"),
]


def save_rates(campaign) -> None:
    paying.hand_in(campaign)


def save_nothing_new(campaign) -> None:
    """All that a save does before it writes into the audit, where everybody takes turns."""
    campaigns.change_campaign(
        campaign, changes={"title": campaign.title}, actor=make_account("administrator")
    )


def beside(act) -> list[object]:
    """Let another connection act and end; what it got, or what went wrong."""
    got: list[object] = []

    def run() -> None:
        try:
            got.append(act())
        except Exception as error:  # noqa: BLE001 -- a thread's end: looked at by the test
            got.append(error)
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return got


@pytest.mark.parametrize("save", [save_rates, save_nothing_new])
def test_work_begins_while_a_campaign_is_being_saved(save):
    campaign = live_campaign()
    waiting = onboarding.open_assignment(agreed_person(campaign), campaign)
    newcomer = agreed_person(campaign)

    with transaction.atomic():
        save(campaign)
        taken = beside(lambda: onboarding.open_assignment(newcomer, campaign))
        begun = beside(lambda: chat.start_conversation(waiting))

    assert [type(each) for each in (*taken, *begun)] == [Assignment, Conversation], (taken, begun)
