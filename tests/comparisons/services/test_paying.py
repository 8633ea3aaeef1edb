"""Work by the piece is paid once, at the rate that stood when it was done; invited people are paid too."""

import threading
import uuid
from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import connections
from django.utils import timezone

from comparisons.models import AuditEntry, Comparison, Payslip, Piece
from comparisons.queries import pay
from comparisons.services import (
    assignment_ends,
    campaigns,
    judging,
    onboarding,
    opinions,
    paying,
    replies,
)
from tests.comparisons.arriving import arrived
from tests.comparisons.making import make_account, make_crowdworker
from tests.comparisons.talking import (
    agreed_person,
    answered,
    begun,
    chosen,
    live_campaign,
    said,
)

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("bell")]


@pytest.fixture
def campaign():
    return live_campaign(
        second_opinion_percent=100, human_reply_percent=100, opinion_pay=Decimal("0.125"),
        reply_pay=Decimal("2.50"),
    )  # fmt: skip


@pytest.fixture
def admin():
    return make_account("administrator")


def settled(campaign, to, admin) -> int:
    """As from a page loaded now."""
    return paying.settle(campaign, to=to, actor=admin, until=timezone.now())


def judged(campaign, person, *, times: int = 1) -> None:
    """Second opinions on turns of somebody else."""
    for _ in range(times):
        chosen(answered(said(begun(campaign))))
        item = opinions.take(person)
        texts = {"A": item.side_a.text_sha256, "B": item.side_b.text_sha256}
        judging.record_choice(
            item, side="A", strength=2, choice_key=uuid.uuid4(), text_sha256=texts
        )


def slips(person) -> list[tuple]:
    rows = person.payslips.order_by("pk")
    return [(each.kind, each.piece_count, str(each.amount), each.state) for each in rows]


def test_pieces_wait_and_then_stand_on_one_payslip(campaign, admin):
    person = agreed_person(campaign)
    judged(campaign, person, times=3)
    wanted = replies.take(agreed_person(campaign))
    replies.write(wanted, wanted.crowdworker, text="Bees sleep at night.", active_milliseconds=9000)

    waiting = {(each.kind, each.count, str(each.amount)) for each in pay.piece_rows(person)}
    assert waiting == {("opinions", 3, "0.38")}
    assert settled(campaign, "accepted", admin) == 2
    assert settled(campaign, "accepted", admin) == 0

    assert slips(person) == [("opinions", 3, "0.38", "accepted")]
    assert slips(wanted.crowdworker) == [("replies", 1, "2.50", "accepted")]
    assert wanted.crowdworker.payslips.get().active_milliseconds == 9000
    assert Piece.objects.count() == 4
    assert pay.pending(campaign=campaign) == []


def test_what_was_done_before_a_change_is_paid_as_it_stood(campaign, admin):
    person = agreed_person(campaign)
    judged(campaign, person, times=2)

    campaigns.change_campaign(campaign, changes={"opinion_pay": Decimal("1.00")}, actor=admin)
    judged(campaign, person)
    settled(campaign, "accepted", admin)
    settled(campaign, "paid", admin)

    assert slips(person) == [("opinions", 2, "0.25", "paid"), ("opinions", 1, "1.00", "paid")]
    moves = AuditEntry.objects.filter(action__startswith="payslip.").values_list("action", "actor")
    assert sorted(moves) == [("payslip.accepted", admin.pk)] * 2 + [("payslip.paid", admin.pk)] * 2


def test_work_done_for_nothing_stays_unpaid_when_pay_begins(admin):
    campaign = live_campaign(second_opinion_percent=100)
    person = agreed_person(campaign)
    judged(campaign, person)
    assert pay.piece_rows(person) == []

    campaigns.change_campaign(campaign, changes={"opinion_pay": Decimal("1.00")}, actor=admin)
    judged(campaign, person)

    assert [(each.count, str(each.amount)) for each in pay.piece_rows(person)] == [(1, "1.00")]
    assert settled(campaign, "accepted", admin) == 1


def test_the_opinion_of_a_simulated_person_costs_nothing(campaign, admin):
    person = agreed_person(campaign, platform="simulated")
    judged(campaign, person)

    assert Comparison.objects.filter(crowdworker=person).count() == 1
    assert settled(campaign, "accepted", admin) == 0
    assert not Payslip.objects.exists()


def test_an_invited_persons_assignment_is_accepted_and_paid_and_a_platforms_is_not(campaign, admin):
    person = agreed_person(campaign)
    assignment = onboarding.open_assignment(person, campaign)
    assignment_ends.submit_assignment(assignment)
    arrival = arrived(campaign, person=make_crowdworker())

    assert settled(campaign, "paid", admin) == 0
    assert settled(campaign, "accepted", admin) == 1
    assert settled(campaign, "paid", admin) == 1

    assignment.refresh_from_db()
    arrival.assignment.refresh_from_db()
    assert (assignment.state, arrival.assignment.state) == ("paid", "submitted")
    assert assignment.paid_at is not None


def test_what_came_after_the_page_was_made_waits_for_the_next_look(campaign, admin):
    first, second = agreed_person(campaign), agreed_person(campaign)
    judged(campaign, first)
    assignment = onboarding.open_assignment(second, campaign)
    page = timezone.now()
    judged(campaign, first, times=2)
    assignment_ends.submit_assignment(assignment)

    assert paying.settle(campaign, to="accepted", actor=admin, until=page) == 1
    assert slips(first) == [("opinions", 1, "0.13", "accepted")]
    assert paying.settle(campaign, to="paid", actor=admin, until=page) == 0

    assert settled(campaign, "accepted", admin) == 2
    assert settled(campaign, "paid", admin) == 3


def test_this_week_counts_the_pieces_of_this_week_however_late_they_are_accepted(campaign, admin):
    person = agreed_person(campaign)
    judged(campaign, person, times=3)
    long_ago = timezone.now() - timedelta(days=30)
    Comparison.objects.filter(crowdworker=person).update(created_at=long_ago)
    judged(campaign, person, times=2)

    assert pay.of_this_week(person) == [("USD", Decimal("0.25"))]
    settled(campaign, "accepted", admin)
    campaigns.change_campaign(campaign, changes={"opinion_pay": Decimal("1.00")}, actor=admin)
    assert pay.of_this_week(person) == [("USD", Decimal("0.25"))]


def test_less_than_half_a_cent_waits_for_more_and_is_not_lost(admin):
    campaign = live_campaign(second_opinion_percent=100, opinion_pay=Decimal("0.004"))
    person = agreed_person(campaign)
    judged(campaign, person)
    assert settled(campaign, "accepted", admin) == 0

    judged(campaign, person)
    assert settled(campaign, "accepted", admin) == 1
    assert slips(person) == [("opinions", 2, "0.01", "accepted")]


def test_only_two_steps_can_be_asked_for(campaign, admin):
    with pytest.raises(paying.PayRefused):
        settled(campaign, "submitted", admin)


@pytest.mark.django_db(transaction=True)
def test_two_who_accept_at_once_put_each_piece_on_one_payslip(campaign, admin):
    person, counts = agreed_person(campaign), []
    judged(campaign, person, times=3)
    start = threading.Barrier(4)

    def accept() -> None:
        try:
            start.wait(10)
            counts.append(settled(campaign, "accepted", admin))
        finally:
            connections.close_all()

    threads = [threading.Thread(target=accept) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(counts) == [0, 0, 0, 1]
    assert slips(person) == [("opinions", 3, "0.38", "accepted")]
    assert Piece.objects.count() == 3
