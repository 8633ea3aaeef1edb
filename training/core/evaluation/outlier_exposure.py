"""A linear classifier on frozen activations that has seen a few outliers (Bai et al. 2022, §5.4).

It does not know models or prompts.

Legend: N usual rows, M outliers, E coordinates.
"""

import random
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from training.core.distributed import Ranks
from training.core.evaluation.auroc import auroc
from training.core.evaluation.mahalanobis import moments

DRAWS = 5  # of the outliers, for each number of them (Bai et al. 2022, fig. 23)
STEPS = (1, 2, 5)  # of each power of ten
# of |w|²/2 beside the mean loss per row: a few outliers can be told from the rest perfectly in many ways,
# and the smallest weights that nearly do so are taken
RIDGE = 0.01
MOST_ITERATIONS = 200
ALONE = Ranks()


@dataclass(frozen=True, kw_only=True)
class Exposed:
    """Activations of one layer: usual and outlying, to train on and to judge by."""

    usual: Tensor  # (N, E)
    outliers: Tensor  # as many as there are, E
    test_usual: Tensor
    test_outliers: Tensor


def numbers_of_outliers(most: int) -> list[int]:
    """1, 2, 5, 10, 20, 50 … up to `most`."""
    found = (step * 10**power for power in range(len(str(most))) for step in STEPS)
    return [each for each in found if each <= most]


def exposure(exposed: Exposed, *, seed: int, ranks: Ranks = ALONE) -> list[dict[str, Any]]:
    """AUROC on test rows by the number of outliers trained with: mean, lowest and highest of the draws, spread.

    No more outliers than usual rows are taken. Each rank trains its share of the classifiers.
    """
    exposed = _standardised(exposed)
    N, available = len(exposed.usual), len(exposed.outliers)
    numbers = numbers_of_outliers(min(N, available))
    found = torch.zeros(len(numbers), DRAWS, dtype=torch.float64)
    jobs = [(row, draw) for row in range(len(numbers)) for draw in range(DRAWS)]
    for row, draw in jobs[ranks.rank :: ranks.world]:
        rng = random.Random(f"outliers:{seed}:{numbers[row]}:{draw}")
        picked = rng.sample(range(available), numbers[row])
        found[row, draw] = _auroc_with(picked, exposed=exposed)
    found = ranks.sum_tensor(found)
    return [
        {
            "outliers": number,
            "copies": N // number,
            "auroc": {
                "value": float(areas.mean()),
                "low": float(areas.min()),
                "high": float(areas.max()),
                "spread": float(areas.std()),
                "n": DRAWS,
            },
        }
        for number, areas in zip(numbers, found, strict=True)
    ]


def _standardised(exposed: Exposed) -> Exposed:
    """In standard deviations of the usual rows, so that the ridge weighs every coordinate alike; float64."""
    mean, deviation = moments(exposed.usual.double())

    def scaled(rows: Tensor) -> Tensor:
        return (rows.double() - mean) / deviation

    return Exposed(
        usual=scaled(exposed.usual),
        outliers=scaled(exposed.outliers),
        test_usual=scaled(exposed.test_usual),
        test_outliers=scaled(exposed.test_outliers),
    )


def _auroc_with(picked: list[int], *, exposed: Exposed) -> float:
    usual, outliers = exposed.usual, exposed.outliers[picked]
    direction = classifier(usual=usual, outliers=outliers, copies=len(usual) // len(picked))
    return auroc(
        outside=(exposed.test_outliers @ direction).tolist(),
        inside=(exposed.test_usual @ direction).tolist(),
    )


def classifier(*, usual: Tensor, outliers: Tensor, copies: int) -> Tensor:
    """Weights (E,) of a logistic regression of usual rows (label 0) against outliers (label 1), each `copies` times.

    P(outlier) rises with x·w, so x·w ranks as P does. The loss has one minimum, found from zero: no seed.
    """
    rows = torch.cat([usual, outliers])  # (N + M, E)
    labels = torch.cat([rows.new_zeros(len(usual)), rows.new_ones(len(outliers))])
    counts = torch.cat([rows.new_ones(len(usual)), rows.new_full((len(outliers),), copies)])
    weights = rows.new_zeros(rows.shape[1], requires_grad=True)
    bias = rows.new_zeros((), requires_grad=True)
    search = torch.optim.LBFGS(
        [weights, bias], max_iter=MOST_ITERATIONS, tolerance_grad=1e-9, tolerance_change=1e-12,
        line_search_fn="strong_wolfe",
    )  # fmt: skip

    def loss() -> Tensor:
        search.zero_grad()
        each = F.binary_cross_entropy_with_logits(rows @ weights + bias, labels, reduction="none")
        total = (each * counts).sum() / counts.sum() + RIDGE / 2 * weights.square().sum()
        total.backward()
        return total

    search.step(loss)
    return weights.detach()
