"""The administrator's overview: what needs a look, today by campaign, and the last days.

Reads only; every figure says of what and since when.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from django.db.models import Count, Q, Sum
from django.db.models.functions import TruncDate
from django.utils.timezone import localdate, localtime, now

from comparisons.core.agreement import proportion
from comparisons.models import Campaign, Comparison, DatasetRelease, ReleaseExport
from comparisons.models.campaign import Origin, Tranche
from comparisons.queries.pay import waiting_long
from comparisons.queries.quality import open_flags, signals, standing_choices
from modelserving.models import SlotDeployment
from modelserving.presence import presence
from modelserving.warming import are_servers_missed

DAYS = 14


@dataclass(frozen=True, kw_only=True)
class Concern:
    """One line of what needs attention, with where to look."""

    text: str
    place: str  # name of the address
    arguments: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class CampaignToday:
    """One campaign's day so far, and its last days."""

    campaign: Campaign
    comparisons: int
    total: int
    hours: float
    kept: int  # not unsure
    days: tuple[int, ...]

    @property
    def kept_text(self) -> str:
        """Share of today's comparisons that are not unsure, with n and 95 % interval; empty where there is none."""
        share = proportion(self.kept, self.comparisons)
        if share.value is None or share.low is None or share.high is None:
            return ""
        interval = f"{100 * share.low:.0f}–{100 * share.high:.0f}"
        return f"{100 * share.value:.0f} % of {share.n:,} ({interval})"


@dataclass(frozen=True, kw_only=True)
class DayCount:
    """Comparisons of one day, by tranche."""

    day: date
    counts: dict[str, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """All tranches together."""
        return sum(self.counts.values())


def concerns() -> list[Concern]:
    """What is broken first, then who needs a look."""
    found: list[Concern] = [*_missing_processes()]
    for release in DatasetRelease.objects.filter(state=DatasetRelease.State.FAILED)[:3]:
        text = f"Release {release.name} failed: {release.failure}"
        found.append(Concern(text=text, place="manage_release", arguments=(release.name,)))
    failed = ReleaseExport.objects.filter(state=ReleaseExport.State.FAILED)
    for export in failed.select_related("release")[:3]:
        text = f"Export {export.get_format_display()} of {export.release.name}: {export.failure}"
        found.append(Concern(text=text, place="manage_release", arguments=(export.release.name,)))
    for campaign in Campaign.objects.filter(state=Campaign.State.LIVE).select_related("slot"):
        found += _concerns_of(campaign)
    for campaign, is_platform, count in waiting_long():
        place = "manage_arrivals" if is_platform else "manage_pay"
        text = f"{campaign.title}: {count} handed in more than two days ago, not accepted yet"
        found.append(Concern(text=text, place=place, arguments=(campaign.slug,)))
    for flags in open_flags():
        noun = "flag" if flags.count == 1 else "flags"
        text = f"{flags.count} {noun}: {flags.label}, oldest {hours(flags.oldest_hours)}"
        found.append(Concern(text=text, place="manage_quality"))
    for signal in signals()[:5]:
        seen = f"{signal.percent} % of {signal.n} ({signal.interval_text})"
        text = f"{signal.crowdworker.pseudonym}: {signal.label}, {seen}"
        place = (str(signal.crowdworker.public_id),)
        found.append(Concern(text=text, place="manage_person", arguments=place))
    return found


def _missing_processes() -> Iterator[Concern]:
    """What waits because nobody is there to do it."""
    seen = presence()
    if seen is None:  # Redis is away: the strip says so
        return
    if seen.is_neglected:
        text = "Background work stands still: no clock or no worker has looked for a minute. ./start runs both."
        yield Concern(text=text, place="lab_servers")
    elif are_servers_missed(seen):
        text = (
            f"No model server answers{_since(seen.ready_at)}. Crowdworkers see: “The models are not answering.” "
            "./start runs one; see its log."
        )
        yield Concern(text=text, place="lab_servers")


def _since(at: datetime | None) -> str:
    if at is None:
        return ""
    is_today = at.date() == now().date()
    return f" since {at:%H:%M} UTC" if is_today else f" since {at.day} {at:%b, %H:%M} UTC"


def _concerns_of(campaign: Campaign) -> Iterator[Concern]:
    """What a live campaign lacks, or has enough of."""
    place, arguments = "manage_campaign", (campaign.slug,)
    serving = SlotDeployment.objects.filter(
        slot=campaign.slot, role=SlotDeployment.Role.SERVING, traffic__gt=0
    )
    if not serving.exists():
        text = f"{campaign.title} is live, but its slot serves nothing."
        yield Concern(text=text, place=place, arguments=arguments)
    wanted = campaign.comparisons_wanted
    if wanted is not None and (made := comparisons_made(campaign)) >= wanted:
        text = f"{campaign.title} has {made:,} of {wanted:,} comparisons wanted: pause or end it"
        yield Concern(text=text, place=place, arguments=arguments)


def comparisons_made(campaign: Campaign) -> int:
    """The crowd's comparisons in a campaign that count: what its `comparisons_wanted` asks for."""
    return standing_choices().filter(turn__conversation__campaign=campaign).count()


def hours(value: float) -> str:
    """An age in words: the whole minutes, hours or days that are over."""
    if value < 1:
        minutes = int(60 * value)
        return f"{minutes} min" if minutes else "less than 1 min"
    return f"{int(value)} h" if value < 48 else f"{int(value / 24)} days"


def campaigns_today() -> list[CampaignToday]:
    """Every campaign that is not ended: today's figures and the last days' counts."""
    today = localdate()
    of_days = _by_campaign_and_day()
    made = _crowd().order_by().values_list("turn__conversation__campaign")
    totals_made = dict(made.annotate(count=Count("pk")))
    found = []
    for campaign in Campaign.objects.exclude(state=Campaign.State.ENDED):
        days = of_days.get(campaign.pk, {})
        now_so_far = days.get(today, {})
        found.append(
            CampaignToday(
                campaign=campaign, comparisons=now_so_far.get("count", 0),
                total=totals_made.get(campaign.pk, 0),
                hours=(now_so_far.get("spent") or 0) / 3_600_000, kept=now_so_far.get("kept", 0),
                days=tuple(
                    days.get(today - timedelta(days=back), {}).get("count", 0)
                    for back in reversed(range(DAYS))
                ),
            )
        )  # fmt: skip
    return found


def _by_campaign_and_day() -> dict[int, dict[date, dict[str, int]]]:
    """Of each campaign, each of the last days' comparisons, how many were not unsure, and the time spent."""
    rows = (
        _of_last_days()
        .values("turn__conversation__campaign", "day")
        .annotate(
            count=Count("pk"), kept=Count("pk", filter=~Q(strength=1)),
            spent=Sum("active_milliseconds"),
        )
    )  # fmt: skip
    found: dict[int, dict[date, dict[str, int]]] = defaultdict(dict)
    for row in rows:
        found[row["turn__conversation__campaign"]][row["day"]] = row
    return found


def comparisons_by_day() -> list[DayCount]:
    """The last days, oldest first, each by tranche; what was imported or simulated is no day's work."""
    today = localdate()
    since = today - timedelta(days=DAYS - 1)
    counts: dict[date, dict[str, int]] = {
        since + timedelta(days=i): dict.fromkeys(Tranche.values, 0) for i in range(DAYS)
    }
    rows = _of_last_days().values_list("day", "tranche").annotate(count=Count("pk"))
    for day, tranche, count in rows:
        counts[day][tranche] = count
    return [DayCount(day=day, counts=each) for day, each in counts.items()]


def totals() -> dict[str, int]:
    """All standing comparisons by origin."""
    standing = Comparison.objects.filter(superseded_at__isnull=True).order_by()
    return dict(standing.values_list("origin").annotate(count=Count("pk")))


def _crowd():  # noqa: ANN202 -- a queryset of comparisons
    return Comparison.objects.filter(superseded_at__isnull=True, origin=Origin.CROWD)


def _of_last_days():  # noqa: ANN202 -- a queryset of comparisons
    """By a range of times, so that a day is made only of the rows inside; unordered."""
    midnight = localtime().replace(hour=0, minute=0, second=0, microsecond=0)
    since = midnight - timedelta(days=DAYS - 1)
    return _crowd().filter(created_at__gte=since).order_by().annotate(day=TruncDate("created_at"))
