"""Pay by the piece as its people and the staff see it: promised beforehand, pending, accepted, paid."""

import uuid
from datetime import timedelta
from decimal import Decimal

import pytest
from django.urls import reverse
from django.utils import timezone

from comparisons.models import Assignment
from comparisons.services import assignment_ends, judging, onboarding, opinions, paying
from tests.comparisons.arriving import arrived
from tests.comparisons.making import make_account
from tests.comparisons.talking import agreed_person, answered, begun, chosen, live_campaign, said

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("bell")]


@pytest.fixture
def campaign():
    return live_campaign(
        second_opinion_percent=100, human_reply_percent=100, opinion_pay=Decimal("0.200"),
        reply_pay=Decimal("1.255"), title="Everyday help",
    )  # fmt: skip


def settled(campaign, to, admin) -> int:
    """As from a page loaded now."""
    return paying.settle(campaign, to=to, actor=admin, until=timezone.now())


def judged(campaign, person) -> None:
    chosen(answered(said(begun(campaign))))
    item = opinions.take(person)
    texts = {"A": item.side_a.text_sha256, "B": item.side_b.text_sha256}
    judging.record_choice(
        item, side="A", strength=2, choice_key=uuid.uuid4(), text_sha256=texts,
        active_milliseconds=120_000,
    )  # fmt: skip


def read(client, name: str, **query) -> str:
    return client.get(reverse(name), query).content.decode()


def test_the_start_page_says_what_a_piece_pays(client, campaign):
    chosen(answered(said(begun(campaign))))
    client.force_login(agreed_person(campaign).account)

    page = read(client, "home")

    assert "0.20 USD each" in page
    assert "1.255 USD each" in page


def test_work_that_was_begun_keeps_the_pay_that_was_promised_for_it(client, campaign):
    campaign.pay_amount, campaign.pay_currency = Decimal("20.00"), "USD"
    campaign.conversations_per_assignment = 2
    campaign.save()
    assignment = onboarding.open_assignment(agreed_person(campaign), campaign)
    campaign.pay_amount, campaign.conversations_per_assignment = Decimal("9.00"), 4
    campaign.save()

    client.force_login(assignment.crowdworker.account)
    begun_ones = read(client, "home"), client.get(reverse("campaign_home", args=[campaign.slug]))
    client.force_login(agreed_person(campaign).account)
    new_one = read(client, "home")

    for shown in (begun_ones[0], begun_ones[1].content.decode()):
        assert "20.00 USD per 2 conversations" in shown
        assert "9.00" not in shown
    assert "9.00 USD per 4 conversations" in new_one


def test_my_work_shows_pieces_pending_then_accepted_then_paid(client, campaign):
    person, admin = agreed_person(campaign), make_account("administrator")
    client.force_login(person.account)
    judged(campaign, person)
    judged(campaign, person)

    pending = read(client, "my_work", state="pending")
    settled(campaign, "accepted", admin)
    accepted = read(client, "my_work", state="accepted")
    settled(campaign, "paid", admin)
    paid = read(client, "my_work", state="paid")

    assert "Second opinions · <bdi>Everyday help</bdi>" in pending
    for page, state in (
        (pending, "Pending: checked"),
        (accepted, "Accepted\n"),
        (paid, "Paid on"),
    ):
        assert ">0.40 USD</td>" in page, state
        assert state in page
        assert "<strong>0.40 USD</strong>" in page, state  # this week
    assert 'data-pieces="opinions"' not in read(client, "my_work", state="pending")
    mine = client.get(reverse("own_data")).json()["paid_by_the_piece"]
    assert [(each["piece_count"], each["amount"], each["state"]) for each in mine] == [
        (2, "0.40", "paid")
    ]


def test_staff_see_accept_and_pay_all_of_it(client, campaign):
    person, invited = agreed_person(campaign), agreed_person(campaign)
    judged(campaign, person)
    assignment = onboarding.open_assignment(invited, campaign)
    assignment_ends.submit_assignment(assignment)
    client.force_login(make_account("administrator"))
    page = reverse("manage_pay", args=[campaign.slug])
    settle = reverse("manage_pay_settle", args=[campaign.slug])

    before = client.get(page).content.decode()
    said_then = client.post(
        settle, {"to": "accepted", "made_at": timezone.now().isoformat()}, follow=True
    ).content.decode()
    accepted = client.get(page).content.decode()
    client.post(settle, {"to": "paid", "made_at": timezone.now().isoformat()})
    table = client.get(reverse("manage_pay_csv", args=[campaign.slug])).content.decode()

    assert person.pseudonym in before
    assert invited.pseudonym in before
    assert "0.20 USD submitted" in before
    assert "2 accepted." in said_then
    assert 'value="accepted">Accept all that was handed in: 2 lines, 0.20 USD' in before
    assert 'value="paid" disabled>Mark what is accepted as paid: nothing waits' in before
    assert 'value="accepted" disabled>' in accepted
    assert 'value="paid">Mark what is accepted as paid: 2 lines, 0.20 USD' in accepted
    lines = [line.split(",") for line in table.splitlines()[1:]]
    assert {(each[0], each[3], each[5]) for each in lines} == {
        (person.pseudonym, "second opinions", "paid"), (invited.pseudonym, "conversations", "paid"),
    }  # fmt: skip
    assert (
        client.post(
            settle, {"to": "nonsense", "made_at": timezone.now().isoformat()}, follow=True
        ).status_code
        == 200
    )


def test_the_dashboard_says_who_waits_longer_than_was_promised(client, campaign):
    for _ in range(2):
        assignment_ends.submit_assignment(
            onboarding.open_assignment(agreed_person(campaign), campaign)
        )
    arrived(campaign, person=agreed_person(campaign))
    late = timezone.now() - timedelta(days=2, hours=1)
    Assignment.objects.filter(pk__in=Assignment.objects.order_by("pk").values("pk")[1:]).update(
        submitted_at=late
    )
    client.force_login(make_account("administrator"))

    page = read(client, "manage_dashboard")

    told = "Everyday help: 1 handed in more than two days ago, not accepted yet"
    assert page.count(told) == 2
    for name in ("manage_pay", "manage_arrivals"):
        assert reverse(name, args=[campaign.slug]) in page


def test_pay_is_for_administrators_alone(client, campaign):
    for role in ("researcher", "crowdworker"):
        client.force_login(make_account(role))
        for name in ("manage_pay", "manage_pay_csv"):
            assert client.get(reverse(name, args=[campaign.slug])).status_code == 404


def test_a_decision_without_its_page_is_not_guessed(client, campaign):
    client.force_login(make_account("administrator"))
    settle = reverse("manage_pay_settle", args=[campaign.slug])

    for made_at in ("", "yesterday", "2026-02-30T00:00:00Z", "2026-01-01T00:00:00"):
        said_then = client.post(settle, {"to": "paid", "made_at": made_at}, follow=True)
        assert "Look again, then decide" in said_then.content.decode()
