"""Choose the next token of every row of a batch, each with its own temperature, top_p and random number.

Does not know requests, text or the model. Legend: N rows, V vocabulary.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from modelserving.core.sampling import MIXING, STEP

# logits (N, V), temperature and uniforms (N,) → tokens and their log-probabilities, (N,) twice
Draw = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What each row asks for: (N,) each, and the random number that decides its token."""

    temperature: Tensor
    top_p: Tensor
    uniforms: Tensor


def choose(
    *, logits: Tensor, settings: Settings, draw: Draw | None = None
) -> tuple[Tensor, Tensor]:
    """Draw by inverting the cumulative distribution; log-probabilities are those of the temperature used.

    logits (N, V) → tokens and their log-probabilities (N,). Temperature 0 takes the likeliest token and
    reports temperature 1. `draw` does the same faster, except for top_p.
    """
    temperature, top_p, uniforms = settings.temperature, settings.top_p, settings.uniforms
    tokens, costs = (draw or _draw)(logits, temperature, uniforms)
    is_cut = (top_p < 1) & (temperature != 0)
    if bool(is_cut.any()):
        logprobs = log_probabilities(logits=logits[is_cut], temperature=temperature[is_cut])
        cut = _inverted_top_p(
            logprobs=logprobs, top_p=top_p[is_cut], uniforms=uniforms[is_cut]
        )  # (cut rows,)
        tokens = tokens.masked_scatter(is_cut, cut)
        costs = costs.masked_scatter(is_cut, logprobs.gather(1, cut[:, None])[:, 0])
    return tokens, costs


def log_probabilities(*, logits: Tensor, temperature: Tensor) -> Tensor:
    """Of every token at the temperature of its row, 1 where that is 0: (N, V)."""
    scale = torch.where(temperature == 0, 1.0, temperature)
    return torch.log_softmax(logits.float() / scale[:, None], dim=-1)


def _draw(logits: Tensor, temperature: Tensor, uniforms: Tensor) -> tuple[Tensor, Tensor]:
    logprobs = log_probabilities(logits=logits, temperature=temperature)  # (N, V)
    tokens = inverted(probabilities=logprobs.exp(), uniforms=uniforms)  # (N,)
    is_greedy = temperature == 0
    if bool(is_greedy.any()):
        tokens = torch.where(is_greedy, logprobs.argmax(dim=-1), tokens)
    return tokens, logprobs.gather(1, tokens[:, None])[:, 0]


def inverted(*, probabilities: Tensor, uniforms: Tensor) -> Tensor:
    """The first token whose cumulative probability exceeds the random number: (N,)."""
    cumulative = probabilities.cumsum(dim=-1, dtype=torch.float64)  # (N, V)
    aims = uniforms.to(torch.float64)[:, None] * cumulative[:, -1:]  # (N, 1)
    found = torch.searchsorted(cumulative, aims, right=True)[:, 0]
    return found.clamp(max=probabilities.shape[-1] - 1)


def _inverted_top_p(*, logprobs: Tensor, top_p: Tensor, uniforms: Tensor) -> Tensor:
    """The same over the smallest set of likeliest tokens that holds `top_p` of the probability."""
    ordered, ids = torch.sort(logprobs, dim=-1, descending=True, stable=True)
    probabilities = ordered.exp()
    mass_before = probabilities.cumsum(dim=-1, dtype=torch.float64) - probabilities
    kept = torch.where(
        mass_before < top_p[:, None], probabilities, 0.0
    )  # the likeliest token always stays
    place = inverted(probabilities=kept, uniforms=uniforms)
    return ids.gather(1, place[:, None])[:, 0]


def uniforms_of(seeds: Sequence[int], *, count: int) -> np.ndarray:
    """The first `count` random numbers of each seed, as `uniform` gives them one by one: (seeds, count)."""
    with np.errstate(over="ignore"):  # whole numbers of 64 bits go round, as they are meant to
        own = _mixed(np.array([seed % (1 << 64) for seed in seeds], dtype=np.uint64))
        steps = np.arange(count, dtype=np.uint64) * np.uint64(STEP)
        mixed = _mixed(own[:, None] + steps)
    found: np.ndarray = (mixed >> np.uint64(12)) / float(1 << 52)
    return found


def _mixed(values: np.ndarray) -> np.ndarray:
    values = values + np.uint64(MIXING[0])
    values = (values ^ (values >> np.uint64(30))) * np.uint64(MIXING[1])
    values = (values ^ (values >> np.uint64(27))) * np.uint64(MIXING[2])
    return values ^ (values >> np.uint64(31))
