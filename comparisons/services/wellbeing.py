"""What protects people who read red-team text: opting in, covers, a daily cap, breaks, a way out.

Knows one person's own exposure; staff see it only in aggregate, elsewhere.
"""

from datetime import timedelta

from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext as _

from comparisons.models import Campaign, Crowdworker, Showing
from comparisons.models.campaign import Objective

BREAK_AFTER = 20  # red-team responses in a row
COVERS = ("always", "never")
COMFORTS = ("mild", "moderate", "strong")


class DailyLimit(Exception):
    """Today's share of red-team responses was read; pay is not affected."""


class NotOptedIn(Exception):
    """The person has not chosen red-team work."""


def shown_today(crowdworker: Crowdworker) -> int:
    """Red-team responses shown to the person within the last 24 hours."""
    since = timezone.now() - timedelta(hours=24)
    own = Q(purpose=Showing.Purpose.AUTHOR, created_at__gte=since)
    # A second opinion is queued before anybody sees it; its lease begins when it is shown.
    opinion = Q(purpose=Showing.Purpose.SECOND_OPINION, lease_until__gte=since)
    showings = Showing.objects.filter(
        own | opinion,
        crowdworker=crowdworker,
        turn__conversation__objective=Objective.HARMLESS,
    )
    return 2 * showings.count()


def check_daily_cap(crowdworker: Crowdworker, campaign: Campaign) -> None:
    """Refuse two more responses when they would pass the campaign's daily cap."""
    if not crowdworker.is_red_team_opted_in:
        raise NotOptedIn(
            _("Red-team work is a choice of your own. Opt in on its start page first.")
        )
    if shown_today(crowdworker) + 2 > campaign.red_team_daily_cap:
        raise DailyLimit(
            _(
                "That is today's limit for red-team work. It is there to protect you; "
                "your pay is not affected."
            )
        )


def should_suggest_break(crowdworker: Crowdworker) -> int:
    """The number of red-team responses read today when a break is due, otherwise 0."""
    shown = shown_today(crowdworker)
    return shown if shown and shown % BREAK_AFTER == 0 else 0


def opt_in(crowdworker: Crowdworker, *, comfort: str, cover: str) -> None:
    """Take red-team work on, knowing the warning, with a comfort level and a cover."""
    crowdworker.is_red_team_opted_in = True
    crowdworker.comfort = comfort if comfort in COMFORTS else "mild"
    crowdworker.cover_responses = cover if cover in COVERS else "always"
    crowdworker.save(update_fields=["is_red_team_opted_in", "comfort", "cover_responses"])


def leave(crowdworker: Crowdworker) -> None:
    """Leave red-team work; what was done stays saved and paid."""
    crowdworker.is_red_team_opted_in = False
    crowdworker.save(update_fields=["is_red_team_opted_in"])


def set_cover(crowdworker: Crowdworker, cover: str) -> None:
    """Cover responses always or never."""
    if cover not in COVERS:
        raise ValueError(f"cover {cover!r}: one of {', '.join(COVERS)}")
    crowdworker.cover_responses = cover
    crowdworker.save(update_fields=["cover_responses"])
