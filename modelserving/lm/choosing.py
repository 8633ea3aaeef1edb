"""Choose the next token of every row of a batch, each with its own temperature, top_p and random number.

Does not know requests, text or the model. Legend: N rows, V vocabulary.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """Token ids (N,) and what they cost: log-probabilities (N,) out of `logprobs` (N, V)."""

    tokens: Tensor
    token_logprobs: Tensor
    logprobs: Tensor


def choose(
    *, logits: Tensor, temperature: Tensor, top_p: Tensor, uniforms: Tensor, plain: bool
) -> Chosen:
    """Draw by inverting the cumulative distribution; log-probabilities are those of the temperature used.

    logits (N, V); temperature, top_p, uniforms (N,). Temperature 0 takes the likeliest token and reports
    temperature 1. `plain` says that no row has temperature 0 or a top_p below 1.
    """
    is_greedy = temperature == 0
    scale = temperature if plain else torch.where(is_greedy, 1.0, temperature)
    logprobs = torch.log_softmax(logits.float() / scale[:, None], dim=-1)  # (N, V)
    tokens = _inverted(probabilities=logprobs.exp(), uniforms=uniforms)  # (N,)
    if not plain:
        tokens = torch.where(is_greedy, logprobs.argmax(dim=-1), tokens)
        is_cut = (top_p < 1) & ~is_greedy
        if bool(is_cut.any()):
            cut = _inverted_top_p(
                logprobs=logprobs[is_cut], top_p=top_p[is_cut], uniforms=uniforms[is_cut]
            )
            tokens = tokens.masked_scatter(is_cut, cut)
    return Chosen(
        tokens=tokens, token_logprobs=logprobs.gather(1, tokens[:, None])[:, 0], logprobs=logprobs
    )


def _inverted(*, probabilities: Tensor, uniforms: Tensor) -> Tensor:
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
    place = _inverted(probabilities=kept, uniforms=uniforms)
    return ids.gather(1, place[:, None])[:, 0]
