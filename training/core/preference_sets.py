"""A release's comparisons in tokens: which rows are used, which are left out, and why.

It does not know models or training steps.
"""

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelserving.core.dialogue import DialogueFormat, TextEncoder
from training.config import ConfigError, PreferenceModelConfig
from training.config.common import require_objectives
from training.core.batching import (
    EncodedComparison,
    Half,
    encode_comparison,
    group_conversations,
    in_half,
    plan_steps,
)
from training.core.data import ReleaseRow, Split, read_release, require_two_sided


@dataclass(frozen=True, kw_only=True)
class ComparisonSets:
    """What one preference model trains and is tested on."""

    train: Sequence[EncodedComparison]
    test: Sequence[EncodedComparison]
    left_out: Mapping[str, int]  # reason -> rows, both splits
    cut_from_the_left: int  # comparisons that lost exchanges, or a beginning, to fit max_tokens

    @property
    def counts(self) -> dict[str, Any]:
        """Plain values for results and log."""
        return {
            "train": len(self.train),
            "test": len(self.test),
            "left_out": dict(self.left_out),
            "cut_from_the_left": self.cut_from_the_left,
        }


def reason_to_leave_out(row: ReleaseRow, *, config: PreferenceModelConfig) -> str | None:
    """Why a row is not used, or None. Unknown strength stays: it is no sign of doubt."""
    if row.picked == row.other:
        return "same text on both sides"
    if row.strength == 1:
        return "unsure"
    if "stopped" in row.finish_reasons:
        return "stopped by a person"
    if config.objectives and row.objective not in config.objectives:
        return "another objective"
    if config.objective_weights.get(row.objective) == 0:
        return "an objective of weight 0"
    if config.tranches and row.tranche not in config.tranches:
        return "another tranche"
    return None


def read_comparisons(
    release: Path,
    *,
    encoder: TextEncoder,
    layout: DialogueFormat,
    config: PreferenceModelConfig,
    half: Half,
) -> ComparisonSets:
    """Encode the usable rows of both splits; only the train split is halved or shortened."""
    left_out: Counter[str] = Counter()
    objectives: set[str] = set()
    tranches: set[str] = set()
    encoded: dict[str, list[EncodedComparison]] = {}
    splits: tuple[Split, ...] = ("train", "test")
    for split in splits:
        every_row = read_release(release, split)
        require_two_sided(every_row)
        objectives |= {row.objective for row in every_row}
        tranches |= {row.tranche for row in every_row}
        rows = list(_used(every_row, config=config, left_out=left_out))
        if split == "train":
            rows = _limited([row for row in rows if in_half(row.first_human_message, half)], config)
        encoded[split] = [encode_comparison(row, encoder=encoder, layout=layout) for row in rows]
    for name in ("objectives", "objective_weights"):
        require_objectives(name=name, asked=getattr(config, name), found=objectives)
    for split in splits:
        if not encoded[split]:
            raise ConfigError(
                f"the release leaves no {split} comparison (left out: {dict(left_out)}): cut a "
                "larger release, or widen objectives, objective_weights or tranches; "
                f"its tranches are {', '.join(sorted(tranches))}"
            )
    every = [*encoded["train"], *encoded["test"]]
    return ComparisonSets(
        train=encoded["train"],
        test=encoded["test"],
        left_out=left_out,
        cut_from_the_left=sum(comparison.is_cut for comparison in every),
    )


def planned(sets: ComparisonSets, *, config: PreferenceModelConfig) -> list[list[list[int]]]:
    """The steps of one model: each a list of conversations, each of these a list of indices of its comparisons.

    A fraction of an epoch is its first steps.
    """
    plan = plan_steps(
        group_conversations(sets.train),
        batch_size=config.batch_comparisons,
        epochs=math.ceil(config.epochs),
        seed=config.seed,
    )
    return plan[: max(1, round(len(plan) * config.epochs / math.ceil(config.epochs)))]


def held_out_comparisons(
    release: Path, *, encoder: TextEncoder, layout: DialogueFormat, most: int
) -> list[EncodedComparison]:
    """Up to `most` comparisons of the test split, as a preference model with the usual settings is tested."""
    left_out: Counter[str] = Counter()
    every_row = read_release(release, "test")
    rows = list(_used(every_row, config=PreferenceModelConfig(), left_out=left_out))
    if not rows:
        raise ConfigError(
            f"the release leaves no test comparison (left out: {dict(left_out)}): cut a larger release"
        )
    kept = sorted(rows, key=lambda row: stable_order(row.comparison))[:most]
    return [encode_comparison(row, encoder=encoder, layout=layout) for row in kept]


def _used(
    rows: Iterable[ReleaseRow], *, config: PreferenceModelConfig, left_out: Counter[str]
) -> Iterator[ReleaseRow]:
    for row in rows:
        reason = reason_to_leave_out(row, config=config)
        if reason is None:
            yield row
        else:
            left_out[reason] += 1


def _limited(rows: list[ReleaseRow], config: PreferenceModelConfig) -> list[ReleaseRow]:
    """The first `max_comparisons` in an order fixed by hash, so that smaller sets lie within larger ones."""
    if not config.max_comparisons or len(rows) <= config.max_comparisons:
        return rows
    ordered = sorted(rows, key=lambda row: stable_order(row.comparison))
    return ordered[: config.max_comparisons]


def stable_order(identity: str) -> str:
    """A shuffle that depends on the identity alone."""
    return hashlib.sha256(f"stable-order:{identity}".encode()).hexdigest()
