"""Accept and pay work that this site's staff settle: by the piece, and of people who came by invitation.

Knows payslips and assignments; people of other platforms have their assignments settled by source.
"""

from datetime import datetime

from django.db import transaction
from django.db.models import Q
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


def hand_in(campaign: Campaign, *, until: datetime | None = None) -> list[Payslip]:
    """Put every piece that is on none yet on a payslip, at the rates that are stored.

    Called before a rate changes, so that what was done is paid as it was promised. With `until`, only what was
    done by then, and less than half a cent's worth waits for more.
    """
    with transaction.atomic():
        # of two, one comes after; no key: a new conversation refers to the row, and must not wait
        locked = Campaign.objects.select_for_update(no_key=True).get(pk=campaign.pk)
        waiting = pay.pending(campaign=locked, until=until)
        ripe = [each for each in waiting if until is None or not _is_too_little(locked, each)]
        return [_payslip(locked, each, until=until) for each in ripe]


def _is_too_little(campaign: Campaign, waiting: pay.Pending) -> bool:
    rate = pay.rate_of(campaign, waiting.kind)
    return rate > 0 and not pay.amount_of(rate=rate, count=waiting.count)


def _payslip(campaign: Campaign, waiting: pay.Pending, *, until: datetime | None) -> Payslip:
    pieces = _pieces(campaign, waiting, until=until)
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


def _pieces(campaign: Campaign, waiting: pay.Pending, *, until: datetime | None) -> list[Piece]:
    mine = {"crowdworker": waiting.crowdworker, "turn__conversation__campaign": campaign}
    if waiting.kind == Payslip.Kind.OPINIONS:
        done = pay.unpaid_opinions(until=until, **mine).values_list("pk", flat=True)
        return [Piece(comparison_id=each) for each in done]
    written = pay.unpaid_replies(until=until, **mine).values_list("pk", flat=True)
    return [Piece(reply_id=each) for each in written]


def settle(campaign: Campaign, *, to: str, actor: Account, until: datetime) -> int:
    """Move what can take this step: handed in to accepted, accepted to paid.

    `until` is when the page was made on which it was decided: what came after it waits for the next look.
    """
    if to not in BEFORE:
        raise PayRefused("choose to accept what was handed in, or to mark as paid")
    target = Payslip.State(to)
    is_first = target == Payslip.State.ACCEPTED
    fresh = hand_in(campaign, until=until) if is_first else []
    unseen = Q(**{"submitted_at__gt" if is_first else "accepted_at__gt": until})
    invited = pay.invited_work(campaign).filter(~unseen, state=BEFORE[target].value)
    count = sum(
        move(each, to=Assignment.State(to), actor=actor, reason="settled")
        for each in invited.order_by("pk")
    )
    slips = campaign.payslips.filter(
        ~unseen | Q(pk__in=[slip.pk for slip in fresh]), state=BEFORE[target], amount__gt=0
    ).order_by("pk")
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
