"""The four Elo curves of an evaluation run as tables, with the names that the database has for the models.

Reads rows of checkpoints; the numbers come from the run's evaluation.json.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from modelserving.models import Checkpoint
from training.report.elo_plots import CURVES

MINUS = "\N{MINUS SIGN}"


@dataclass(frozen=True, kw_only=True)
class EloLine:
    """One model: what it is, and its Elo by each curve in words."""

    checkpoint: Checkpoint | None  # None: a release from elsewhere names it
    model: str
    choices: int
    cells: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class EloTable:
    """The models of one objective, strongest first by the crowd."""

    objective: str
    columns: Sequence[str]
    lines: Sequence[EloLine]
    choices: int
    ties: int
    unscored: Sequence[Checkpoint | str]  # models without a mean score of held-out prompts
    apart: Sequence[Checkpoint | str]  # models that no chain of choices joins to these


def elo_tables(evaluation: Mapping[str, Any]) -> list[EloTable]:
    """One table for each objective; none where the suite was not run."""
    parts = evaluation.get("elo", {}).get("by_objective", {})
    hashes = {each["model"] for part in parts.values() for each in part["models"]}
    hashes |= {each for part in parts.values() for each in part["not_connected"]}
    known = {each.hash: each for each in Checkpoint.objects.filter(hash__in=hashes)}
    return [
        EloTable(
            objective=objective,
            columns=list(CURVES.values()),
            lines=[_line(each, known=known, anchor=part["anchor"]) for each in part["models"]],
            choices=part["choices"],
            ties=part["ties"],
            unscored=[known.get(each, each) for each in part["without_held_out_score"]],
            apart=[known.get(each, each) for each in part["not_connected"]],
        )
        for objective, part in parts.items()
    ]


def _line(found: Mapping[str, Any], *, known: Mapping[str, Checkpoint], anchor: str) -> EloLine:
    model = found["model"]
    cells = [_words(found[curve], is_anchor=model == anchor) for curve in CURVES]
    return EloLine(
        checkpoint=known.get(model), model=model, choices=found["crowd"]["n"], cells=cells
    )


def _words(point: Mapping[str, Any] | None, *, is_anchor: bool) -> str:
    if point is None:
        return "–"
    if is_anchor:
        return "0 (anchor)"
    if not point.get("is_bounded", True):  # its number would be the prior's
        return "never lost" if point["wins"] else "never won"
    words = f"{point['value']:+.0f}"
    if point["low"] is not None:
        words += f" ({point['low']:+.0f} to {point['high']:+.0f})"
    else:
        words += " (too few conversations for an interval)"
    return words.replace("-", MINUS)
