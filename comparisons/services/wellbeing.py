"""What protects people who read red-team text: opting in, covers, a daily cap, breaks, a way out.

Knows one person's own exposure; staff see it only in aggregate, elsewhere.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import pairwise
from math import ceil

from django.db.models import Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from comparisons.models import (
    Campaign,
    Crowdworker,
    LapsedReply,
    PassedReply,
    Showing,
    WantedReply,
)
from comparisons.models.campaign import Objective

HARMLESS = Objective.HARMLESS
BREAK_AFTER = 20  # red-team responses in a row
STRETCH = 40  # red-team responses without a longer break; then a rest is not a choice any more
COOL_DOWN = timedelta(minutes=15)
TOPICS = (
    "violence", "self_harm", "sexual", "hate", "drugs", "weapons", "crime", "animals", "health",
)  # fmt: skip
OPINION_LEASE = timedelta(minutes=15)
REPLY_LEASE = timedelta(minutes=60)
# a pair that is shown once more beside a response of one's own: nothing new is read
WITH_OWN = Q(side_a__author__isnull=False) | Q(side_b__author__isnull=False)
COVERS = ("always", "never")
COMFORTS = ("mild", "moderate", "strong")


class DailyLimit(Exception):
    """Today's share of red-team responses was read; pay is not affected."""


class CoolingDown(DailyLimit):
    """Much was read without a break; red-team work opens again in a little while."""


class NotOptedIn(Exception):
    """The person has not chosen red-team work."""


def shown_today(crowdworker: Crowdworker) -> int:
    """Red-team responses shown to the person within the last 24 hours."""
    since = timezone.now() - timedelta(hours=24)
    # A prompt for a reply shows a whole dialogue: it counts like a pair.
    return 2 * (_shown_since(crowdworker, since).count() + len(_prompts_since(crowdworker, since)))


def _shown_since(crowdworker: Crowdworker, since: datetime) -> QuerySet[Showing]:
    own = Q(purpose=Showing.Purpose.AUTHOR, created_at__gte=since) & ~WITH_OWN
    # A second opinion is queued before anybody sees it; its lease begins when it is shown.
    opinion = Q(purpose=Showing.Purpose.SECOND_OPINION, lease_until__gte=since)
    return Showing.objects.filter(
        own | opinion,
        crowdworker=crowdworker,
        turn__conversation__objective=HARMLESS,
    )


def _prompts_since(crowdworker: Crowdworker, since: datetime) -> list[datetime]:
    """When the person was shown red-team prompts for replies: in hand, given back, or left."""
    objective = "turn__conversation__objective"
    taken = WantedReply.objects.filter(
        crowdworker=crowdworker, lease_until__gte=since + REPLY_LEASE, **{objective: HARMLESS}
    )
    passed = PassedReply.objects.filter(
        crowdworker=crowdworker, at__gte=since, **{f"wanted__{objective}": HARMLESS}
    )
    lapsed = LapsedReply.objects.filter(
        crowdworker=crowdworker, shown_at__gte=since, **{f"wanted__{objective}": HARMLESS}
    )
    seen = [until - REPLY_LEASE for until in taken.values_list("lease_until", flat=True) if until]
    left = lapsed.values_list("shown_at", flat=True)
    return [*seen, *passed.values_list("at", flat=True), *left]


def cooling_until(crowdworker: Crowdworker) -> datetime | None:
    """When red-team work opens again after a long stretch of it; None while it is open."""
    longest = COOL_DOWN * (STRETCH // 2)  # a stretch that lasted longer had a break in it
    since = timezone.now() - longest
    rows = _shown_since(crowdworker, since).values_list("purpose", "created_at", "lease_until")
    seen = [*(_seen_at(*row) for row in rows), *_prompts_since(crowdworker, since)]
    times = sorted(seen, reverse=True)[: STRETCH // 2]
    if len(times) < STRETCH // 2:
        return None
    has_break = any(after - before >= COOL_DOWN for after, before in pairwise(times))
    until = times[0] + COOL_DOWN
    return None if has_break or until <= timezone.now() else until


def _seen_at(purpose: str, created_at: datetime, lease_until: datetime | None) -> datetime:
    """A second opinion is seen when its lease begins."""
    if purpose == Showing.Purpose.AUTHOR or lease_until is None:
        return created_at
    return lease_until - OPINION_LEASE


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
    if until := cooling_until(crowdworker):
        words = _(
            "You have read {count} red-team responses without a longer break. This work opens "
            "again in {minutes} min; your text is kept, and helpful work is open."
        )
        minutes = ceil((until - timezone.now()) / timedelta(minutes=1))
        raise CoolingDown(words.format(count=STRETCH, minutes=minutes))


def should_suggest_break(crowdworker: Crowdworker) -> int:
    """The number of red-team responses read today when a break is due, otherwise 0."""
    shown = shown_today(crowdworker)
    return shown if shown and shown % BREAK_AFTER == 0 else 0


def covers(crowdworker: Crowdworker, campaign: Campaign) -> bool:
    """Whether the person uncovers responses of this campaign one at a time."""
    return campaign.is_red_team and crowdworker.cover_responses != "never"


def opt_in(crowdworker: Crowdworker, *, comfort: str, cover: str) -> None:
    """Take red-team work on, knowing the warning, with a comfort level and a cover."""
    crowdworker.is_red_team_opted_in = True
    crowdworker.comfort = comfort if comfort in COMFORTS else "mild"
    crowdworker.cover_responses = cover if cover in COVERS else "always"
    crowdworker.save(update_fields=["is_red_team_opted_in", "comfort", "cover_responses"])


def leave(crowdworker: Crowdworker) -> None:
    """Take no more red-team work; what was done is handed in elsewhere."""
    crowdworker.is_red_team_opted_in = False
    crowdworker.save(update_fields=["is_red_team_opted_in"])


def set_topics(crowdworker: Crowdworker, topics: Iterable[str]) -> None:
    """Keep which topics the person does not want to meet."""
    wanted = set(topics)
    crowdworker.topic_opt_outs = [topic for topic in TOPICS if topic in wanted]
    crowdworker.save(update_fields=["topic_opt_outs"])


def set_comfort(crowdworker: Crowdworker, comfort: str) -> None:
    """Keep how strong the text may be."""
    if comfort not in COMFORTS:
        raise ValueError(f"comfort {comfort!r}: one of {', '.join(COMFORTS)}")
    crowdworker.comfort = comfort
    crowdworker.save(update_fields=["comfort"])


def set_cover(crowdworker: Crowdworker, cover: str) -> None:
    """Cover responses always or never."""
    if cover not in COVERS:
        raise ValueError(f"cover {cover!r}: one of {', '.join(COVERS)}")
    crowdworker.cover_responses = cover
    crowdworker.save(update_fields=["cover_responses"])
