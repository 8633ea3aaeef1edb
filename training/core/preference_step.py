"""One optimizer step of a preference model: packed rows in, gradients and statistics out.

It does not know runs, releases or checkpoints.

Legend: P comparisons of a row (2P scores), B comparisons of the step.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from modelserving.lm.attention import common_prefix
from modelserving.lm.preference_model import score_groups
from modelserving.lm.threads import balanced_bins, threads_for
from training.config import PreferenceModelConfig
from training.core.batching import EncodedComparison, balanced_rows
from training.core.distributed import Ranks, fill_missing_gradients
from training.core.outcome import NonFinite
from training.core.preference_loss import (
    PairwiseLoss,
    pairwise_loss,
    strength_margins,
    strength_soft_labels,
)
from training.core.sharding import idle_passes
from training.core.side_by_side import add_gradients

ALONE = Ranks()
UNSURE_LABEL = 0.5  # soft label of the weakest strength


@dataclass(frozen=True, kw_only=True)
class StepStatistics:
    """What one step saw, before its update."""

    loss: float
    accuracy: float
    margin: float
    tokens: int  # after sharing
    comparisons: int


def accumulate(
    model: nn.Module,
    groups: Sequence[Sequence[EncodedComparison]],
    *,
    config: PreferenceModelConfig,
    step: int,
    ranks: Ranks = ALONE,
) -> StepStatistics:
    """Add the gradients of the step's mean loss, one packed row at a time; one tree per conversation.

    Each rank reads its share of the conversations; the statistics are those of the whole step.
    """
    lengths = list(map(tree_tokens, groups))
    every = [comparison for group in groups for comparison in group]
    threads = threads_for(model)
    total_weight = float(weights(every, by_objective=config.objective_weights).sum())
    rows = _own_rows(lengths, row_tokens=config.micro_tokens, threads=threads, ranks=ranks)
    idle = idle_passes(model, rows=len(rows), ranks=ranks)

    def read(row: Sequence[int]) -> tuple[Tensor, Tensor]:
        loss_sum, found = _summed(model, [groups[index] for index in row], config=config)
        return loss_sum / total_weight, found

    parameters = list(model.parameters())
    found = add_gradients(read, rows, parameters=parameters, threads=threads)
    sums = sum(found, torch.zeros(3, device=parameters[0].device)).cpu()
    for _ in range(idle):
        (row_loss(model, groups[:1], config=config).loss_sum * 0.0).backward()
    if not rows:  # a rank without work takes part in the sum of gradients
        fill_missing_gradients(parameters)
    loss_sum, correct, margin = ranks.sum_tensor(sums).tolist()
    if not math.isfinite(loss_sum):
        raise NonFinite("the loss", step=step)
    return StepStatistics(
        loss=loss_sum / total_weight,
        accuracy=correct / len(every),
        margin=margin / len(every),
        tokens=sum(lengths),
        comparisons=len(every),
    )


def _summed(
    model: nn.Module,
    groups: Sequence[Sequence[EncodedComparison]],
    *,
    config: PreferenceModelConfig,
) -> tuple[Tensor, Tensor]:
    """A row's summed loss; the same, its right choices and margins for the statistics (3,), which no device waits for."""
    result = row_loss(model, groups, config=config)
    parts = (result.loss_sum.detach(), result.correct.sum(), result.margin.sum())
    return result.loss_sum, torch.stack(parts)


def _own_rows(
    lengths: Sequence[int], *, row_tokens: int, threads: int, ranks: Ranks
) -> list[list[int]]:
    """This rank's share of the step's trees, in rows that its threads can share."""
    mine = balanced_bins(lengths, count=ranks.world)[ranks.rank]
    own = [lengths[index] for index in mine]
    rows = balanced_rows(own, row_tokens=row_tokens, multiple=threads)
    return [[mine[index] for index in row] for row in rows]


def row_loss(
    model: nn.Module,
    groups: Sequence[Sequence[EncodedComparison]],
    *,
    config: PreferenceModelConfig,
) -> PairwiseLoss:
    """The summed loss of the comparisons of one packed row."""
    comparisons = [comparison for group in groups for comparison in group]
    sequences = [
        [side for each in group for side in (each.chosen, each.rejected)] for group in groups
    ]
    scores = score_groups(model, sequences)  # (2P,)
    strengths = [comparison.strength for comparison in comparisons]
    margins, labels = None, None
    if config.strength == "margin":
        margins = strength_margins(strengths, per_step=config.strength_margin).to(scores.device)
    if config.strength == "soft_label":
        labels = strength_soft_labels(strengths, weakest=UNSURE_LABEL).to(scores.device)
    return pairwise_loss(
        chosen=scores[0::2],
        rejected=scores[1::2],
        weights=weights(comparisons, by_objective=config.objective_weights).to(scores.device),
        margins=margins,
        soft_labels=labels,
    )


def weights(
    comparisons: Sequence[EncodedComparison], *, by_objective: Mapping[str, float]
) -> Tensor:
    """Loss weight of each comparison, 1 where its objective is not named: (P,)."""
    return torch.tensor([by_objective.get(each.objective, 1.0) for each in comparisons])


def tree_tokens(group: Sequence[EncodedComparison]) -> int:
    """Tokens of the conversation's tree: what it shares is counted once."""
    ordered = sorted(side for each in group for side in (each.chosen, each.rejected))
    shared = sum(common_prefix(left, right) for left, right in pairwise(ordered))
    return sum(map(len, ordered)) - shared
