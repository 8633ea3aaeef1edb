"""The crowd's choices between deployments, read as Elo with intervals.

Reads only; the fit is core.elo's.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Case, Count, F, Q, QuerySet, Value, When
from django.utils.timezone import now

from comparisons.core.elo import Choice, Standing, fit_elo, is_kept
from comparisons.core.transcript import chosen_and_rejected
from comparisons.models import Comparison, Crowdworker
from comparisons.models.campaign import Objective
from comparisons.queries.releases import LEFT_OUT, UNSURE, ReleaseFilters, with_reason
from modelserving.models import Deployment

SAMPLES = 400
NOT_COUNTED = ("superseded", "set_aside", "withdrawn", "simulated", "unfinished", "stopped")
NO_DUEL = {  # reason -> words: choices that say nothing of one deployment against another
    "text": "with a text that no deployment wrote",
    "itself": "between a deployment and itself",
    "unsure": "unsure",
}


@dataclass(frozen=True, kw_only=True)
class LeaderboardRow:
    """One deployment and how strong the crowd finds it."""

    deployment: Deployment
    standing: Standing


@dataclass(frozen=True, kw_only=True)
class PairCount:
    """How often each of two deployments was chosen over the other."""

    one: Deployment
    two: Deployment
    one_wins: int
    two_wins: int

    @property
    def choices(self) -> int:
        """All choices between the two."""
        return self.one_wins + self.two_wins


@dataclass(frozen=True, kw_only=True)
class Leaderboard:
    """Deployments of one objective, strongest first within each connected group."""

    objective: str
    rows: tuple[LeaderboardRow, ...]
    pairs: tuple[PairCount, ...]
    groups: int  # more than one: no order between groups is known
    choices: int
    conversations: int
    unsure_left_out: int
    anchor: Deployment | None  # stands at 0 in its group
    fitted_at: datetime


def leaderboard(
    objective: str,
    *,
    anchor: Deployment | None = None,
    has_simulated: bool = False,
    without: Crowdworker | None = None,
    samples: int = SAMPLES,
) -> Leaderboard:
    """Fit all choices between different deployments. The anchor is the oldest unless one is named."""
    counted = list(_choices(objective, has_simulated=has_simulated, without=without))
    kept = [choice for choice, strength in counted if is_kept(strength)]
    keys = {int(name) for choice in kept for name in (choice.winner, choice.loser)}
    deployments = Deployment.objects.select_related("checkpoint", "ranker").in_bulk(keys)
    if anchor is None or anchor.pk not in deployments:
        anchor = deployments[min(deployments)] if deployments else None
    fit = fit_elo(kept, anchor=str(anchor.pk) if anchor else None, samples=samples)
    return Leaderboard(
        objective=objective,
        rows=tuple(
            LeaderboardRow(deployment=deployments[int(standing.name)], standing=standing)
            for standing in fit.standings
        ),
        pairs=tuple(_pairs(kept, deployments)),
        groups=fit.groups,
        choices=fit.choices,
        conversations=fit.conversations,
        unsure_left_out=len(counted) - len(kept),
        anchor=anchor,
        fitted_at=now(),
    )


def left_out(objective: str, *, has_simulated: bool = False) -> list[tuple[str, int]]:
    """Why choices of an objective are not among those fitted, in words, and how many there are of each."""
    own, other = "picked__deployment", "other__deployment"
    no_duel = Case(
        When(Q(**{f"{own}__isnull": True}) | Q(**{f"{other}__isnull": True}), then=Value("text")),
        When(**{own: F(other)}, then=Value("itself")),
        When(strength=UNSURE, then=Value("unsure")),
        default=Value(""),
    )
    rows = with_reason(
        Comparison.objects.filter(objective=objective), ReleaseFilters(has_simulated=has_simulated)
    )
    counts: Counter[str] = Counter()
    for reason, duel, count in (
        rows.order_by().values_list("left_out", no_duel).annotate(count=Count("pk"))
    ):
        counts[reason if reason in NOT_COUNTED else duel] += count
    words = {reason: LEFT_OUT[reason] for reason in NOT_COUNTED} | NO_DUEL
    return [(said, counts[reason]) for reason, said in words.items() if counts[reason]]


@dataclass(frozen=True, kw_only=True)
class Shift:
    """How far one deployment moves when a person's choices are left out."""

    objective: str
    deployment: Deployment
    elo: float  # after minus before
    half_width: float  # of its 95 % interval before: smaller moves say little
    is_order_changed: bool  # anywhere in this objective


def shifts_without(crowdworker: Crowdworker) -> list[Shift]:
    """What leaving a person's choices out would do to the leaderboards, largest move first."""
    found = []
    for objective in Objective:
        before = leaderboard(objective, samples=200)
        after = leaderboard(objective, anchor=before.anchor, without=crowdworker, samples=0)
        if before.choices == after.choices:
            continue
        now_at = {row.deployment: row.standing for row in after.rows}
        order = [row.deployment for row in before.rows if row.deployment in now_at]
        is_changed = order != [row.deployment for row in after.rows]
        found += [
            Shift(
                objective=objective.value, deployment=row.deployment,
                elo=now_at[row.deployment].elo - row.standing.elo,
                half_width=(row.standing.high - row.standing.low) / 2, is_order_changed=is_changed,
            )
            for row in before.rows
            if row.standing.is_bounded and not row.standing.is_anchor
            if row.standing.low is not None and row.standing.high is not None
            if row.deployment in now_at and now_at[row.deployment].is_bounded
        ]  # fmt: skip
    return sorted(found, key=lambda shift: -abs(shift.elo))


def choices_between(
    one: Deployment, two: Deployment, *, objective: str = Objective.HELPFUL
) -> list[Choice]:
    """The kept choices between two deployments: the evidence for a promotion."""
    pair = (one.pk, two.pk)
    found = _choices(objective, has_simulated=False, pair=pair)
    return [choice for choice, strength in found if is_kept(strength)]


def _choices(
    objective: str,
    *,
    has_simulated: bool,
    without: Crowdworker | None = None,
    pair: tuple[int, int] | None = None,
) -> Iterator[tuple[Choice, int | None]]:
    """Each choice with its strength; the winner is the better response, whatever was asked."""
    compared = _compared(objective, has_simulated=has_simulated)
    if without is not None:
        compared = compared.exclude(crowdworker=without)
    if pair is not None:
        compared = compared.filter(picked__deployment__in=pair, other__deployment__in=pair)
    rows = compared.values_list(
        "question", "strength", "turn__conversation_id", "picked__deployment_id",
        "other__deployment_id",
    )  # fmt: skip
    for question, strength, conversation, picked, other in rows.iterator(chunk_size=2000):
        winner, loser = chosen_and_rejected(question=question, picked=str(picked), other=str(other))
        yield Choice(winner=winner, loser=loser, conversation=str(conversation)), strength


def _compared(objective: str, *, has_simulated: bool) -> QuerySet[Comparison]:
    between = Comparison.objects.filter(
        objective=objective,
        picked__deployment__isnull=False,
        other__deployment__isnull=False,
    ).exclude(picked__deployment=F("other__deployment"))
    filters = ReleaseFilters(has_simulated=has_simulated)
    return with_reason(between, filters).exclude(left_out__in=NOT_COUNTED).order_by("pk")


def _pairs(choices: list[Choice], deployments: dict[int, Deployment]) -> Iterator[PairCount]:
    wins = Counter((int(choice.winner), int(choice.loser)) for choice in choices)
    for one, two in sorted({(min(pair), max(pair)) for pair in wins}):
        yield PairCount(
            one=deployments[one], two=deployments[two],
            one_wins=wins[one, two], two_wins=wins[two, one],
        )  # fmt: skip
