"""Accept and pay work that this site's staff settle: by the piece, and of people who came by invitation.

Knows payslips and assignments; people of other platforms have their assignments settled by source.
"""

from django.db import transaction
from django.utils import timezone

from comparisons.models import Account, Assignment, Campaign, Payslip, Piece
from comparisons.queries import pay
from comparisons.services import audit
from comparisons.services.assignment_states import move

BEFORE = {
    Payslip.State.ACCEPTED: Payslip.State.SUBMITTED,
    Payslip.State.PAID: Payslip.State.ACCEPTED,
}
STAMPS = {Payslip.State.ACCEPTED: "accepted_at", Payslip.State.PAID: "paid_at"}


class PayRefused(ValueError):
    """This cannot be settled; the message says what can."""


def hand_in(campaign: Campaign) -> list[Payslip]:
    """Put every piece that is on none yet on a payslip, at the rates that are stored.

    Called before a rate changes, so that what was done is paid as it was promised.
    """
    with transaction.atomic():
        locked = Campaign.objects.select_for_update().get(pk=campaign.pk)  # of two, one comes after
        return [_payslip(locked, each) for each in pay.pending(campaign=locked)]


def _payslip(campaign: Campaign, waiting: pay.Pending) -> Payslip:
    pieces = _pieces(campaign, waiting)
    rate = pay.rate_of(campaign, waiting.kind)
    slip = Payslip.objects.create(
        crowdworker_id=waiting.crowdworker, campaign=campaign, kind=waiting.kind,
        piece_count=len(pieces), rate=rate, currency=campaign.pay_currency,
        amount=pay.amount_of(rate=rate, count=len(pieces)),
        active_milliseconds=waiting.active_milliseconds,
    )  # fmt: skip
    for piece in pieces:
        piece.payslip = slip
    Piece.objects.bulk_create(pieces, batch_size=500)
    return slip


def _pieces(campaign: Campaign, waiting: pay.Pending) -> list[Piece]:
    mine = {"crowdworker": waiting.crowdworker, "turn__conversation__campaign": campaign}
    if waiting.kind == Payslip.Kind.OPINIONS:
        done = pay.unpaid_opinions(**mine).values_list("pk", flat=True)
        return [Piece(comparison_id=each) for each in done]
    written = pay.unpaid_replies(**mine).values_list("pk", flat=True)
    return [Piece(reply_id=each) for each in written]


def settle(campaign: Campaign, *, to: str, actor: Account) -> int:
    """Move everything of the campaign that can take this step: handed in to accepted, accepted to paid."""
    if to not in BEFORE:
        raise PayRefused("choose to accept what was handed in, or to mark as paid")
    target = Payslip.State(to)
    if target == Payslip.State.ACCEPTED:
        hand_in(campaign)
    assignments = pay.invited_work(campaign).filter(state=BEFORE[target].value).order_by("pk")
    count = sum(
        move(each, to=Assignment.State(to), actor=actor, reason="settled") for each in assignments
    )
    slips = campaign.payslips.filter(state=BEFORE[target], amount__gt=0).order_by("pk")
    return count + sum(_moved(slip, target, actor=actor) for slip in slips)


def _moved(slip: Payslip, target: Payslip.State, *, actor: Account) -> bool:
    """Take the step once; False where somebody else was first."""
    with transaction.atomic():
        row = Payslip.objects.filter(pk=slip.pk, state=BEFORE[target])
        if row.update(state=target, **{STAMPS[target]: timezone.now()}) != 1:
            return False
        audit.record(
            actor=actor, action=f"payslip.{target.value}", object_type="payslip",
            object_id=slip.public_id,
            detail={"amount": str(slip.amount), "currency": slip.currency},
        )  # fmt: skip
    return True
