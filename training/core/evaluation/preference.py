"""What a preference model gets right on held-out comparisons, and how far its scores can be believed.

It does not know how the model was trained. Numbers in, plain values for evaluation.json out.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import nn

from modelserving.lm.preference_model import score_token_sequences
from modelserving.lm.threads import balanced_bins
from training.core.batching import EncodedComparison, group_conversations
from training.core.distributed import Ranks
from training.core.evaluation.intervals import clustered_share, share

ALONE = Ranks()
CONVERSATIONS = 32  # judged between two words of how far it is
CALIBRATION_EDGES = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, math.inf)
HISTOGRAM_BINS = 40
THRESHOLDS = 10
LATE_TURN = 6  # turns from here on are reported together


@dataclass(frozen=True, kw_only=True)
class Judged:
    """The model's scores of one comparison."""

    comparison: EncodedComparison
    chosen: float
    rejected: float

    @property
    def margin(self) -> float:
        """chosen − rejected."""
        return self.chosen - self.rejected

    @property
    def correct(self) -> float:
        """1 where chosen scores higher, ½ on an exact tie."""
        return 0.5 if self.margin == 0 else float(self.margin > 0)


def judge(
    model: nn.Module,
    comparisons: Sequence[EncodedComparison],
    *,
    ranks: Ranks = ALONE,
    tell: Callable[[float], None] = lambda _: None,
) -> list[Judged]:
    """Score both sides of every comparison, each rank its share; what a conversation shares is read once.

    `tell` hears now and then which share of the work is done.
    """
    groups = group_conversations(comparisons)
    lengths = [sum(len(comparisons[i].chosen) for i in group) for group in groups]
    mine = balanced_bins(lengths, count=ranks.world)[ranks.rank]
    scores = torch.zeros(len(comparisons), 2)
    for start in range(0, len(mine), CONVERSATIONS):
        own = [i for group in mine[start : start + CONVERSATIONS] for i in groups[group]]
        sequences = [side for i in own for side in (comparisons[i].chosen, comparisons[i].rejected)]
        keys = [comparisons[i].conversation for i in own for _ in range(2)]
        scores[own] = score_token_sequences(model, sequences, keys=keys).view(-1, 2)
        tell(min(1.0, (start + CONVERSATIONS) / len(mine)))
    scores = ranks.sum_tensor(scores)
    sides = scores.tolist()
    return [
        Judged(comparison=comparison, chosen=chosen, rejected=rejected)
        for comparison, (chosen, rejected) in zip(comparisons, sides, strict=True)
    ]


def report(judged: Sequence[Judged], *, bootstrap_samples: int, seed: int) -> dict[str, Any]:
    """Everything evaluation.json says of a preference model."""
    by_conversation: dict[str, list[float]] = {}
    for each in judged:
        by_conversation.setdefault(each.comparison.conversation, []).append(each.correct)
    bins = calibration([each.margin for each in judged])
    return {
        "accuracy": share([each.correct for each in judged]),
        "accuracy_over_conversations": clustered_share(
            by_conversation, samples=bootstrap_samples, seed=seed
        ),
        "loss": sum(_log1p_exp(-each.margin) for each in judged) / len(judged),
        "by_objective": breakdown(judged, key=lambda each: each.objective),
        "by_tranche": breakdown(judged, key=lambda each: each.tranche),
        "by_turn": breakdown(judged, key=_turn_name),
        "by_threshold": by_threshold(judged),
        "calibration": bins,
        "expected_calibration_error": calibration_error(bins),
        "histogram": histogram(judged),
        "scores_by_tranche": scores_by_tranche(judged),
    }


def breakdown(
    judged: Sequence[Judged], *, key: Callable[[EncodedComparison], str]
) -> dict[str, dict[str, float | int]]:
    """Accuracy with interval and n for each value of `key`."""
    parts: dict[str, list[float]] = {}
    for each in judged:
        parts.setdefault(key(each.comparison), []).append(each.correct)
    return {name: share(parts[name]) for name in sorted(parts)}


def by_threshold(judged: Sequence[Judged]) -> list[dict[str, Any]]:
    """Accuracy of the comparisons both of whose scores reach a threshold (Bai et al. 2022, fig. 25).

    Thresholds are counted from the mean of all these scores, which are known up to a constant; they leave ten tenths of
    the comparisons, nine tenths, and so on, so that no point stands on a handful.
    """
    lower = [min(each.chosen, each.rejected) for each in judged]
    centre = sum(each.chosen + each.rejected for each in judged) / (2 * len(judged))
    ordered = sorted(lower)
    steps = dict.fromkeys(ordered[len(ordered) * step // THRESHOLDS] for step in range(THRESHOLDS))
    return [
        {
            "threshold": threshold - centre,
            "accuracy": share(
                [one.correct for one, low in zip(judged, lower, strict=True) if low >= threshold]
            ),
        }
        for threshold in steps
    ]


def calibration(margins: Sequence[float]) -> list[dict[str, Any]]:
    """Accuracy against |Δ| beside 1/(1 + e^−|Δ|), in bins of |Δ| (Bai et al. 2022, fig. 9)."""
    bins = []
    for low, high in pairwise(CALIBRATION_EDGES):
        inside = [margin for margin in margins if low <= abs(margin) < high]
        if not inside:
            continue
        expected = sum(1 / (1 + math.exp(-abs(margin))) for margin in inside) / len(inside)
        bins.append(
            {
                "low": low,
                "high": high if math.isfinite(high) else None,
                "mean_margin": sum(map(abs, inside)) / len(inside),
                "expected": expected,
                "accuracy": share([0.5 if margin == 0 else float(margin > 0) for margin in inside]),
            }
        )
    return bins


def calibration_error(bins: Sequence[dict[str, Any]]) -> float:
    """Mean |accuracy − expected| over comparisons (ECE)."""
    total = sum(each["accuracy"]["n"] for each in bins)
    gaps = (
        abs(each["accuracy"]["value"] - each["expected"]) * each["accuracy"]["n"] for each in bins
    )
    return sum(gaps) / total


def histogram(judged: Sequence[Judged]) -> dict[str, Any]:
    """Counts of chosen and rejected scores over common bins."""
    sides = {
        "chosen": [each.chosen for each in judged],
        "rejected": [each.rejected for each in judged],
    }
    low, high, counts = _binned(sides)
    return {"low": low, "high": high, **counts}


def scores_by_tranche(judged: Sequence[Judged]) -> dict[str, Any]:
    """Counts of both sides' scores over common bins, of each tranche (Bai et al. 2022, fig. 15); {} where there is one."""
    tranches: dict[str, list[float]] = {}
    for each in judged:
        tranches.setdefault(each.comparison.tranche, []).extend((each.chosen, each.rejected))
    if len(tranches) < 2:
        return {}
    low, high, counts = _binned(tranches)
    return {"low": low, "high": high, "tranches": counts}


def _binned(
    parts: Mapping[str, Sequence[float]],
) -> tuple[float, float, dict[str, list[int]]]:
    """Lowest and highest score of all parts, and of each its counts over the bins between."""
    low, high = min(map(min, parts.values())), max(map(max, parts.values()))
    width = (high - low) / HISTOGRAM_BINS or 1.0
    counts = {name: [0] * HISTOGRAM_BINS for name in parts}
    for name, scores in parts.items():
        for score in scores:
            counts[name][min(int((score - low) / width), HISTOGRAM_BINS - 1)] += 1
    return low, high, counts


def _turn_name(comparison: EncodedComparison) -> str:
    return str(comparison.turn) if comparison.turn < LATE_TURN else f"{LATE_TURN}+"


def _log1p_exp(value: float) -> float:
    return max(value, 0.0) + math.log1p(math.exp(-abs(value)))
