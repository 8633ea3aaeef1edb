"""Which comparisons a release would hold, and why not the rest: one rule for counting and cutting.

Reads only; knows neither files nor splits.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any

from django.db.models import (
    Case,
    CharField,
    Count,
    Exists,
    F,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    Value,
    When,
)
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Coalesce
from django.utils.timezone import localdate

from comparisons.core.transcript import dialogue
from comparisons.formats.rich import ComparisonRow
from comparisons.models import Comparison, Crowdworker, DatasetRelease, Response, Turn
from comparisons.models.campaign import Objective, Origin, Tranche
from comparisons.queries.flags import HEEDED, PERSONAL_DATA, flagged
from comparisons.queries.imports import from_sources

PAGE = 500
UNSURE = 1
USUAL_TEST_PERCENT = 20  # the paper's is 5; a small collection needs more to measure with

# reason -> words, in the order in which a comparison is given its one reason
LEFT_OUT = {
    "superseded": "undone by the person",
    "set_aside": "set aside by an administrator",
    "withdrawn": "withdrawn",
    "simulated": "simulated",
    "objective": "another objective",
    "tranche": "another tranche",
    "source": "of a source that was left out",
    "unfinished": "a response is not complete",
    "stopped": "a response was stopped",
    "same_text": "both responses say the same",
    "flagged": "flagged for personal data, not looked at yet",
    "unsure": "unsure",
}


@dataclass(frozen=True, kw_only=True)
class ReleaseFilters:
    """What the person cutting asked for; empty means all."""

    objectives: tuple[str, ...] = ()
    tranches: tuple[str, ...] = ()
    has_simulated: bool = False
    without_sources: tuple[str, ...] = ()  # of imports: NAME, or NAME@OBJECTIVE/TRANCHE

    def __post_init__(self) -> None:
        for each in self.objectives:
            if each not in Objective.values:
                raise ValueError(f"objective {each!r}: one of {', '.join(Objective.values)}")
        for each in self.tranches:
            if each not in Tranche.values:
                raise ValueError(f"tranche {each!r}: one of {', '.join(Tranche.values)}")

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "ReleaseFilters":
        """The filters as a release's row stores them."""
        return cls(
            objectives=tuple(stored.get("objectives", ())),
            tranches=tuple(stored.get("tranches", ())),
            has_simulated=bool(stored.get("has_simulated", False)),
            without_sources=tuple(stored.get("without_sources", ())),
        )

    def to_dict(self) -> dict[str, Any]:
        """As JSON writes them, in one order."""
        return {
            "objectives": sorted(self.objectives),
            "tranches": sorted(self.tranches),
            "has_simulated": self.has_simulated,
            "without_sources": sorted(self.without_sources),
        }


@dataclass(frozen=True, kw_only=True)
class ReleaseCounts:
    """How many comparisons there are, how many would be in, and one reason for each of the rest."""

    total: int
    kept: int
    left_out: tuple[tuple[str, str, int], ...]  # reason, words, count


def with_reason(comparisons: QuerySet[Comparison], filters: ReleaseFilters) -> QuerySet[Comparison]:
    """Annotate `left_out`: the first reason a comparison is not in, or an empty text."""
    withdrawn = Crowdworker.Standing.WITHDRAWN
    stopped = Response.FinishReason.STOPPED
    conditions = {
        "superseded": Q(superseded_at__isnull=False),
        "set_aside": Q(set_aside_at__isnull=False) | flagged(HEEDED),
        "withdrawn": Q(turn__conversation__is_withdrawn=True)
        | Q(turn__conversation__crowdworker__standing=withdrawn)
        | Q(crowdworker__standing=withdrawn)
        | Q(picked__author__standing=withdrawn)
        | Q(other__author__standing=withdrawn),
        "simulated": Q(origin=Origin.SIMULATED) if not filters.has_simulated else None,
        "objective": ~Q(objective__in=filters.objectives) if filters.objectives else None,
        "tranche": ~Q(tranche__in=filters.tranches) if filters.tranches else None,
        "source": from_sources(filters.without_sources) if filters.without_sources else None,
        "unfinished": ~Q(picked__state=Response.State.READY)
        | ~Q(other__state=Response.State.READY),
        "stopped": Q(picked__finish_reason=stopped) | Q(other__finish_reason=stopped),
        "same_text": Q(picked__text_sha256=F("other__text_sha256")),
        "flagged": flagged(PERSONAL_DATA),
        "unsure": Q(strength=UNSURE),
    }
    cases = [
        When(condition, then=Value(reason))
        for reason in LEFT_OUT
        if (condition := conditions[reason]) is not None
    ]
    return comparisons.annotate(
        left_out=Case(*cases, default=Value(""), output_field=CharField(max_length=12))
    )


def release_counts(filters: ReleaseFilters) -> ReleaseCounts:
    """What a release cut now would hold, and why not the rest."""
    found = dict(
        with_reason(Comparison.objects.all(), filters)
        .order_by()
        .values_list("left_out")
        .annotate(count=Count("pk"))
    )
    kept = found.pop("", 0)
    left_out = tuple(
        (reason, words, found[reason]) for reason, words in LEFT_OUT.items() if found.get(reason)
    )
    return ReleaseCounts(total=kept + sum(found.values()), kept=kept, left_out=left_out)


def kept_since(release: DatasetRelease | None, filters: ReleaseFilters) -> int:
    """How many comparisons a release cut now would hold that an earlier one did not."""
    kept = with_reason(Comparison.objects.all(), filters).filter(left_out="").order_by()
    if release is not None:
        kept = kept.filter(~Exists(release.members.filter(comparison=OuterRef("pk"))))
    return kept.count()


def kept_rows(filters: ReleaseFilters) -> Iterator[tuple[int, ComparisonRow]]:
    """Every comparison that is in, as (primary key, row), in the order they were made.

    Read in pages, so that no long read holds the database; `up_to` fixes the end at the start.
    """
    newest = Comparison.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
    last = 0
    while page := list(_page(filters, after=last, up_to=newest)):
        last = page[-1].pk
        yield from rows_of(page)


def _page(filters: ReleaseFilters, *, after: int, up_to: int) -> QuerySet[Comparison]:
    return (
        with_reason(Comparison.objects.filter(pk__gt=after, pk__lte=up_to), filters)
        .filter(left_out="")
        .select_related(
            "turn__conversation", "picked__deployment__checkpoint", "other__deployment__checkpoint"
        )
        .order_by("pk")[:PAGE]
    )


def rows_of(comparisons: list[Comparison]) -> Iterator[tuple[int, ComparisonRow]]:
    """The rows of these comparisons, each with the dialogue as its author went on with it."""
    ids = {comparison.turn.conversation_id for comparison in comparisons}
    earlier: dict[int, list[Turn]] = {}
    for turn in (
        Turn.objects.filter(conversation_id__in=ids, continued_by__isnull=False)
        .select_related("continued_by__picked")
        .order_by("conversation_id", "index")
    ):
        earlier.setdefault(turn.conversation_id, []).append(turn)
    for comparison in comparisons:
        before = [
            (turn.message, turn.continued_by.picked.text)  # type: ignore[union-attr]
            for turn in earlier.get(comparison.turn.conversation_id, [])
            if turn.index < comparison.turn.index
        ]
        yield comparison.pk, _row(comparison, before=before)


def first_messages(release: DatasetRelease) -> Iterator[tuple[int, str, str]]:
    """Each comparison inside with its split and the message its dialogue begins with, as `rows_of` has it.

    Withdrawn dialogues are left out: what they began with is not kept.
    """
    earlier = Turn.objects.filter(
        conversation=OuterRef("comparison__turn__conversation"),
        index__lt=OuterRef("comparison__turn__index"),
        continued_by__isnull=False,
    ).order_by("index")
    opening = F("comparison__turn__conversation__opening")
    first = Coalesce(
        KeyTextTransform("content", KeyTextTransform("0", opening)),
        Subquery(earlier.values("message")[:1]),
        F("comparison__turn__message"),
    )
    kept = release.members.filter(comparison__turn__conversation__is_withdrawn=False)
    rows = kept.order_by("pk").annotate(first=first).values_list("comparison_id", "split", "first")
    yield from rows.iterator(chunk_size=2000)


def _row(comparison: Comparison, *, before: list[tuple[str, str]]) -> ComparisonRow:
    turn = comparison.turn
    return ComparisonRow(
        comparison=str(comparison.public_id),
        conversation=str(turn.conversation.public_id),
        turn=turn.index,
        messages=dialogue(opening=turn.conversation.opening, turns=before, message=turn.message),
        picked=comparison.picked.text,
        other=comparison.other.text,
        question=comparison.question,
        objective=comparison.objective,
        strength=comparison.strength,
        tranche=comparison.tranche,
        origin=comparison.origin,
        picked_checkpoint=_checkpoint_hash(comparison.picked),
        other_checkpoint=_checkpoint_hash(comparison.other),
        finish_reasons=[comparison.picked.finish_reason, comparison.other.finish_reason],
        best_of=[_best_of(comparison.picked), _best_of(comparison.other)],
    )


def _checkpoint_hash(response: Response) -> str | None:
    if response.deployment is None or response.deployment.checkpoint is None:
        return None
    return response.deployment.checkpoint.hash


def _best_of(response: Response) -> int:
    return response.deployment.best_of if response.deployment else 1


def releases() -> QuerySet[DatasetRelease]:
    """All releases, newest first."""
    return DatasetRelease.objects.select_related("created_by").order_by("-pk")


def suggested_name() -> str:
    """A free name for a release cut today."""
    day = f"r-{localdate():%Y-%m-%d}"
    taken = set(DatasetRelease.objects.filter(name__startswith=day).values_list("name", flat=True))
    return next(name for i in count() if (name := day if i == 0 else f"{day}.{i + 1}") not in taken)


def suggested_test_percent(usual: int = USUAL_TEST_PERCENT) -> int:
    """The share of the newest frozen release, so that no message moves between the splits."""
    newest = DatasetRelease.objects.filter(state=DatasetRelease.State.FROZEN).first()
    return newest.test_percent if newest else usual
