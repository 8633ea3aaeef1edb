"""How fast a campaign goes: who is at work in it now, and what its shares of second opinions and replies come to a day.

Reads only; a day is one of the last seven, and money is what this site's staff pay by the piece.
"""

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from django.db.models import Exists, OuterRef
from django.utils.timezone import now

from comparisons.models import Campaign, Comparison, Crowdworker, Showing, Turn
from comparisons.models.campaign import Origin
from comparisons.queries.happening import ACTIVE_MINUTES

DAYS = 7


def people_at_work(campaign: Campaign) -> int:
    """Who chose or wrote in this campaign in the last minutes."""
    since = now() - timedelta(minutes=ACTIVE_MINUTES)
    chose = Comparison.objects.filter(
        crowdworker=OuterRef("pk"), created_at__gte=since, turn__conversation__campaign=campaign
    )
    wrote = Turn.objects.filter(
        conversation__crowdworker=OuterRef("pk"), created_at__gte=since,
        conversation__campaign=campaign,
    )  # fmt: skip
    real = Crowdworker.objects.exclude(platform=Crowdworker.Platform.SIMULATED)
    return real.filter(Exists(chose) | Exists(wrote)).count()


@dataclass(frozen=True, kw_only=True)
class Share:
    """What a share of the choices comes to, at the pace of the last days."""

    choices: int  # in the last days
    percent: int
    rate: Decimal  # for each piece
    currency: str

    @property
    def text(self) -> str:
        """Pieces and pay a day in words; nothing where there is nothing to tell from."""
        if not self.choices or not self.percent:
            return ""
        pieces = Decimal(self.choices * self.percent) / (100 * DAYS)
        said = f"{self.percent} % of {self.choices:,} choices in {DAYS} days: about {pieces:,.1f} a day"
        return (
            f"{said}, {pieces * self.rate:,.2f} {self.currency} a day." if self.rate else f"{said}."
        )


def shares_of(campaign: Campaign) -> dict[str, str]:
    """Of each rule that is a share of the choices, what it comes to a day."""
    choices = Comparison.objects.filter(
        turn__conversation__campaign=campaign, showing__purpose=Showing.Purpose.AUTHOR,
        origin=Origin.CROWD, superseded_at__isnull=True, created_at__gte=now() - timedelta(days=DAYS),
    ).count()  # fmt: skip
    shares = {
        "second_opinion_percent": (campaign.second_opinion_percent, campaign.opinion_pay),
        "human_reply_percent": (campaign.human_reply_percent, campaign.reply_pay),
    }
    return {
        name: Share(
            choices=choices, percent=percent, rate=rate, currency=campaign.pay_currency
        ).text
        for name, (percent, rate) in shares.items()
    }
