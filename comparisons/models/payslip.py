"""Work that is paid by the piece, handed in together: second opinions, and replies written by people.

Knows what was done and what each piece pays; who accepts and pays it is the service's business.
"""

import uuid

from django.db import models
from django.db.models import Q

from comparisons.models.campaign import Campaign
from comparisons.models.comparison import Comparison
from comparisons.models.crowdworker import Crowdworker
from comparisons.models.reply import WantedReply


class Payslip(models.Model):
    """Pieces of one kind that one person did in one campaign, at the rate that stood then."""

    class Kind(models.TextChoices):
        OPINIONS = "opinions", "second opinions"
        REPLIES = "replies", "replies written"

    class State(models.TextChoices):
        SUBMITTED = "submitted", "submitted"
        ACCEPTED = "accepted", "accepted"
        PAID = "paid", "paid"

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    crowdworker = models.ForeignKey(Crowdworker, on_delete=models.PROTECT, related_name="payslips")
    campaign = models.ForeignKey(Campaign, on_delete=models.PROTECT, related_name="payslips")
    kind = models.CharField(max_length=12, choices=Kind)
    state = models.CharField(max_length=12, choices=State, default=State.SUBMITTED)
    piece_count = models.PositiveIntegerField()
    rate = models.DecimalField(max_digits=8, decimal_places=3)  # for one piece
    amount = models.DecimalField(max_digits=10, decimal_places=2)
    currency = models.CharField(max_length=3)
    active_milliseconds = models.PositiveBigIntegerField(default=0)
    submitted_at = models.DateTimeField(auto_now_add=True)
    accepted_at = models.DateTimeField(null=True)
    paid_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-pk"]
        constraints = [
            models.CheckConstraint(condition=Q(piece_count__gte=1), name="a_payslip_has_a_piece"),
        ]


class Piece(models.Model):
    """One second opinion or one written reply on a payslip; each is on one payslip at most."""

    payslip = models.ForeignKey(Payslip, on_delete=models.PROTECT, related_name="pieces")
    comparison = models.OneToOneField(
        Comparison, on_delete=models.PROTECT, null=True, related_name="piece"
    )
    reply = models.OneToOneField(
        WantedReply, on_delete=models.PROTECT, null=True, related_name="piece"
    )

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.CheckConstraint(
                condition=Q(comparison__isnull=True, reply__isnull=False)
                | Q(comparison__isnull=False, reply__isnull=True),
                name="a_piece_is_an_opinion_or_a_reply",
            ),
        ]
