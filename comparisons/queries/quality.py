"""How well people agree, and habits worth a look; a signal is never a verdict.

Reads only; what is done about a signal is services.quality's.
"""

from collections import defaultdict
from dataclasses import dataclass
from statistics import median

from django.db.models import Count, F, Q, QuerySet
from django.db.models.functions import Length
from django.utils.timezone import now

from comparisons.core.agreement import (
    Estimate,
    alpha_estimate,
    coin_probability,
    proportion,
    raw_agreement,
    wilson_interval,
)
from comparisons.models import Comparison, Crowdworker, Flag
from comparisons.models.campaign import Objective, Origin
from comparisons.queries.flags import HEEDED, flagged

FEWEST_CHOICES = 20  # below, no habit is judged
RARE = 0.001  # a signal: a fair habit would look like this at most once in a thousand
FASTEST_READING = 120  # characters a second over both responses; careful readers do about 25
CHOICES_LOOKED_AT = (
    20_000  # the crowd's newest: habits of now, and pages that do not read all there ever was
)
UNIT_LEVELS = 8  # the eight-point strip


@dataclass(frozen=True, kw_only=True)
class AgreementRow:
    """One agreement figure of one objective."""

    label: str
    objective: str
    estimate: Estimate
    is_percent: bool

    @property
    def value_text(self) -> str:
        """The value as it is read; empty where there is none."""
        unit = " %" if self.is_percent and self.estimate.value is not None else ""
        return self._text(self.estimate.value) + unit

    @property
    def interval_text(self) -> str:
        """The interval as it is read, or why there is none."""
        if self.estimate.low is None:
            return self.estimate.reason
        return f"{self._text(self.estimate.low)} to {self._text(self.estimate.high)}"

    def _text(self, value: float | None) -> str:
        if value is None:
            return ""
        text = f"{100 * value:.0f}" if self.is_percent else f"{value:.2f}"
        return text.replace("-", "\N{MINUS SIGN}")


@dataclass(frozen=True, kw_only=True)
class Signal:
    """A habit of one person that chance hardly explains."""

    crowdworker: Crowdworker
    kind: str  # side, fast
    label: str
    share: float
    low: float
    high: float
    n: int
    probability: float | None  # of at least this under a fair habit, where that can be computed

    @property
    def percent(self) -> str:
        """The share as it is read."""
        return f"{100 * self.share:.0f}"

    @property
    def interval_text(self) -> str:
        """The interval as it is read."""
        return f"{100 * self.low:.0f}–{100 * self.high:.0f}"


def standing_choices() -> QuerySet[Comparison]:
    """Crowd comparisons that count: not undone, not set aside; simulated people are no crowd."""
    return Comparison.objects.filter(
        ~flagged(HEEDED),  # also what was chosen after the flag was heeded
        superseded_at__isnull=True,
        set_aside_at__isnull=True,
        crowdworker__isnull=False,
        origin=Origin.CROWD,
    )


def agreement_rows() -> list[AgreementRow]:
    """Agreement on the picked response and on the eight-point strip, per objective."""
    rows = []
    for objective in Objective:
        sides, strips = _units(objective)
        nominal = alpha_estimate(sides, metric="nominal", levels=2)
        ordinal = alpha_estimate(strips, metric="ordinal", levels=UNIT_LEVELS)
        rows += [
            AgreementRow(
                label="same response picked", objective=objective.value,
                estimate=raw_agreement(sides), is_percent=True,
            ),
            AgreementRow(
                label="alpha, which response", objective=objective.value, estimate=nominal,
                is_percent=False,
            ),
            AgreementRow(
                label="alpha, ordinal, eight points", objective=objective.value, estimate=ordinal,
                is_percent=False,
            ),
        ]  # fmt: skip
    return rows


def _units(objective: str) -> tuple[list[list[int]], list[list[int]]]:
    """Judgements of the same two responses: which one (0, 1), and where on the strip (0..7)."""
    several = (
        standing_choices()
        .filter(objective=objective)
        .values("turn")
        .annotate(judges=Count("crowdworker", distinct=True))
        .filter(judges__gt=1)
        .values("turn")
    )
    judged = standing_choices().filter(turn__in=several, objective=objective)
    sides: dict[tuple[int, int], list[int]] = defaultdict(list)
    strips: dict[tuple[int, int], list[int]] = defaultdict(list)
    for picked, other, strength in judged.values_list("picked_id", "other_id", "strength"):
        pair = (min(picked, other), max(picked, other))
        is_second = picked == pair[1]
        sides[pair].append(int(is_second))
        if strength:
            strips[pair].append(3 + strength if is_second else 4 - strength)
    return list(sides.values()), list(strips.values())


def signals(crowdworker: Crowdworker | None = None) -> list[Signal]:
    """Habits to look at in the newest choices, most surprising first; of everybody, or of one person."""
    looked_at = _looked_at()
    if crowdworker is not None:
        looked_at = looked_at.filter(crowdworker=crowdworker)
    found = [*_side_signals(looked_at), *_fast_signals(looked_at)]
    return sorted(found, key=lambda signal: (signal.probability or 0.0, -signal.share))


def people_looked_at() -> int:
    """People with enough choices to see a habit in."""
    counts = _looked_at().values("crowdworker").annotate(n=Count("pk"))
    return counts.filter(n__gte=FEWEST_CHOICES).count()


def _looked_at() -> QuerySet[Comparison]:
    """The newest choices that count, unordered."""
    crowd = Comparison.objects.filter(superseded_at__isnull=True, origin=Origin.CROWD)
    keys = crowd.order_by("-pk").values_list("pk", flat=True)
    after = next(iter(keys[CHOICES_LOOKED_AT : CHOICES_LOOKED_AT + 1]), 0)
    return standing_choices().filter(pk__gt=after).order_by()


def _side_signals(looked_at: QuerySet[Comparison]) -> list[Signal]:
    counts: dict[int, dict[str, int]] = defaultdict(dict)
    rows = looked_at.exclude(side="").values_list("crowdworker", "side")
    for crowdworker, side, count in rows.annotate(count=Count("pk")):
        counts[crowdworker][side] = count
    found = []
    people = Crowdworker.objects.in_bulk(counts)
    for key, sides in counts.items():
        n = sum(sides.values())
        side = max(("A", "B"), key=lambda letter: sides.get(letter, 0))
        probability = coin_probability(sides[side], n)
        if n < FEWEST_CHOICES or probability > RARE:
            continue
        low, high = wilson_interval(sides[side], n)
        found.append(
            Signal(
                crowdworker=people[key], kind="side", label=f"picks {side}", share=sides[side] / n,
                low=low, high=high, n=n, probability=probability,
            )
        )  # fmt: skip
    return found


def _fast_signals(looked_at: QuerySet[Comparison]) -> list[Signal]:
    is_fast = Q(characters__gt=F("active_milliseconds") * FASTEST_READING)
    rows = (
        looked_at.filter(active_milliseconds__isnull=False)
        .annotate(characters=1000 * (Length("picked__text") + Length("other__text")))
        .values("crowdworker")
        .annotate(n=Count("pk"), fast=Count("pk", filter=is_fast))
        .filter(n__gte=FEWEST_CHOICES)
    )
    shares = {row["crowdworker"]: proportion(row["fast"], row["n"]) for row in rows}
    seen = {key: share for key, share in shares.items() if (share.low or 0.0) > 0.5}
    people = Crowdworker.objects.in_bulk(seen)
    return [
        Signal(
            crowdworker=people[key], kind="fast", label="chooses faster than one can read",
            share=share.value or 0.0, low=share.low or 0.0, high=share.high or 0.0,
            n=share.n, probability=None,
        )
        for key, share in seen.items()
    ]  # fmt: skip


def median_seconds(crowdworker: Crowdworker) -> float | None:
    """The middle of this person's times from ready to choice."""
    times = list(
        standing_choices()
        .filter(crowdworker=crowdworker, active_milliseconds__isnull=False)
        .values_list("active_milliseconds", flat=True)
    )
    return median(times) / 1000 if times else None


@dataclass(frozen=True, kw_only=True)
class OpenFlags:
    """Flags of one kind that nobody has looked at yet."""

    kind: str
    label: str
    count: int
    oldest_hours: float


def open_flags() -> list[OpenFlags]:
    """What crowdworkers asked someone to look at, by kind."""
    unresolved = Flag.objects.filter(resolved_at__isnull=True).order_by("created_at")
    by_kind: dict[str, list[Flag]] = defaultdict(list)
    for flag in unresolved:
        by_kind[flag.kind].append(flag)
    return [
        OpenFlags(
            kind=kind, label=Flag.Kind(kind).label, count=len(by_kind[kind]),
            oldest_hours=(now() - by_kind[kind][0].created_at).total_seconds() / 3600,
        )
        for kind in Flag.Kind.values
        if by_kind[kind]
    ]  # fmt: skip


def flags_to_look_at() -> QuerySet[Flag]:
    """Unresolved flags, oldest first, with their turns."""
    return (
        Flag.objects.filter(resolved_at__isnull=True)
        .select_related("turn__conversation", "crowdworker")
        .annotate(conversation_public_id=F("turn__conversation__public_id"))
        .order_by("pk")
    )
