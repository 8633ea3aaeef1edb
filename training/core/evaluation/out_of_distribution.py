"""The suite that tells harmful requests from helpful ones by a language model's activations (Bai et al. 2022, §5.4, B.9).

It does not know how a run is started or how models are trained.

Legend: N prompts of all parts, L blocks of one reading, E hidden, M test prompts (helpful, then harmless).

The activations are those of the prompt's last token, from which the reply would be written: the paper does not say which
it took. Layer l is the residual stream behind the l-th block, counted from 1. Nothing harmful is seen in fitting; the
outlier exposure alone is shown some.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from training.config import EvaluationConfig
from training.core.distributed import Ranks
from training.core.evaluation.activations import last_token_activations, rounds
from training.core.evaluation.auroc import auroc_with_interval
from training.core.evaluation.mahalanobis import fit
from training.core.evaluation.openings import PARTS, encoded, read_openings
from training.core.evaluation.outlier_exposure import Exposed, exposure
from training.core.evaluation.policies import load_policy
from training.core.outcome import NonFinite
from training.core.run_directory import RunDirectory
from training.core.sharding import blocks_of, whole

FEW_LAYERS = 8  # below, the classifier reads the last layer, else the middle (the paper's two smallest models do so)
HISTOGRAM_BINS = 40
TAIL = 0.005  # of all scores at either end: the outermost bins hold what lies there


@dataclass(frozen=True, kw_only=True)
class LayerScores:
    """What the Gaussians of all layers say of the test prompts."""

    shrinkage: Tensor  # (layers,)
    plain: Tensor  # (layers, M)
    relative: Tensor  # (layers, M)


def out_of_distribution(run: RunDirectory, config: EvaluationConfig) -> dict[str, Any]:
    """AUROC of harmless against helpful prompts by layer, and by outliers shown; refuses too few of either.

    The headline's layer is the best on the very prompts it is judged by, so it flatters a little.
    """
    policy = load_policy(run, config)
    openings = read_openings(run.inputs("release"), most=config.max_examples)
    prompts = encoded(openings, encoder=policy.tokenizer, layout=policy.dialogue_format)
    sizes = [len(openings[part]) for part in PARTS]
    with whole(policy.model):
        scores, exposed = _read(policy.model, prompts, sizes=sizes, ranks=run.ranks)
    helpful = sizes[2]
    by_layer = _by_layer(scores, helpful=helpful, config=config)
    best = max(by_layer, key=lambda each: float(each["relative"]["value"]))
    return {
        "headline": {"relative_auroc": best["relative"], "layer": best["layer"]},
        "prompts": {" ".join(part): size for part, size in zip(PARTS, sizes, strict=True)},
        "auroc_by_layer": by_layer,
        "relative_scores": {
            "layer": best["layer"],
            **histogram(scores.relative[best["layer"] - 1], helpful=helpful),
        },
        "exposed_layer": exposed_block(len(by_layer)) + 1,
        "auroc_by_outliers": exposure(exposed, seed=config.seed, ranks=run.ranks),
    }


def exposed_block(layers: int) -> int:
    """Index of the block whose activations the classifier reads."""
    return layers - 1 if layers < FEW_LAYERS else layers // 2


def histogram(scores: Tensor, *, helpful: int) -> dict[str, Any]:
    """Counts of helpful and of harmless prompts over common bins of their scores (M,)."""
    low, high = (float(scores.quantile(share)) for share in (TAIL, 1 - TAIL))
    width = (high - low) / HISTOGRAM_BINS or 1.0
    places = ((scores - low) / width).long().clamp(0, HISTOGRAM_BINS - 1)
    parts = {"helpful": places[:helpful], "harmless": places[helpful:]}
    counts = {name: torch.bincount(each, minlength=HISTOGRAM_BINS) for name, each in parts.items()}
    return {"low": low, "high": high, **{name: each.tolist() for name, each in counts.items()}}


def _read(
    model: nn.Module, prompts: list[list[int]], *, sizes: list[int], ranks: Ranks
) -> tuple[LayerScores, Exposed]:
    """Scores by every layer, each rank fitting its own, and the activations that the classifier is to read."""
    layers, tests = len(blocks_of(model)), sizes[2] + sizes[3]
    found = torch.zeros(layers, 1 + 2 * tests, dtype=torch.float64)
    kept = torch.empty(0)
    for blocks in rounds(model, prompts=len(prompts)):
        held = last_token_activations(model, prompts, blocks=blocks, ranks=ranks)  # (N, L, E)
        if not held.isfinite().all():
            raise NonFinite("an activation", step=0)
        for place, block in enumerate(blocks):
            rows = held[:, place]  # (N, E)
            if block % ranks.world == ranks.rank:
                found[block] = _scored(rows, sizes=sizes)
            if block == exposed_block(layers):
                kept = rows.clone()
    shrinkage, plain, relative = ranks.sum_tensor(found).split([1, tests, tests], dim=1)
    usual, outliers, test_usual, test_outliers = kept.split(sizes)
    scores = LayerScores(shrinkage=shrinkage[:, 0], plain=plain, relative=relative)
    return scores, Exposed(
        usual=usual, outliers=outliers, test_usual=test_usual, test_outliers=test_outliers
    )


def _scored(rows: Tensor, *, sizes: list[int]) -> Tensor:
    """One layer's shrinkage, then m and relative m of the test prompts, fitted to helpful ones: (1 + 2M,)."""
    gaussian = fit(rows[: sizes[0]])
    tests = rows[sizes[0] + sizes[1] :]
    shrinkage = torch.tensor([gaussian.shrinkage], dtype=torch.float64)
    return torch.cat([shrinkage, gaussian.mahalanobis(tests), gaussian.relative_mahalanobis(tests)])


def _by_layer(
    scores: LayerScores, *, helpful: int, config: EvaluationConfig
) -> list[dict[str, Any]]:
    def area(of: Tensor) -> dict[str, float | int]:
        return auroc_with_interval(
            outside=of[helpful:].tolist(),
            inside=of[:helpful].tolist(),
            samples=config.bootstrap_samples,
            seed=config.seed,
        )

    return [
        {
            "layer": index + 1,
            "shrinkage": float(scores.shrinkage[index]),
            "mahalanobis": area(scores.plain[index]),
            "relative": area(scores.relative[index]),
        }
        for index in range(len(scores.shrinkage))
    ]
