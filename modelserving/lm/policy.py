"""Policies: log-probabilities of response tokens, and of nothing else.

It does not know rewards, advantages or how responses were sampled.

Legend: N response tokens of a packed row (all responses one after another), V vocabulary, T tokens of the row.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modelserving.lm.attention import PackedRow, hidden_states

# rows of logits that are turned into log-probabilities together: a CPU keeps them in its cache
CPU_ROWS, GPU_ROWS = 64, 4096


@dataclass(frozen=True, kw_only=True)
class ResponseTokens:
    """Where a row's response tokens are predicted from, and which tokens they are."""

    predicted_at: Tensor  # (N,) row index of the token before each response token
    targets: Tensor  # (N,) the response tokens


@dataclass(frozen=True, kw_only=True)
class ResponseLogprobs:
    """What a policy says of the response tokens it was shown."""

    logprobs: Tensor  # (N,) at the sampling temperature
    entropy: Tensor  # (N,) of the next-token distribution, detached; 0 where not asked for


def response_tokens(row: PackedRow, *, prompt_lengths: Sequence[int]) -> ResponseTokens:
    """The response part of every packed sequence, given how many tokens its prompt has."""
    before = [path[p - 1 : -1] for path, p in zip(row.paths, prompt_lengths, strict=True)]
    inside = [path[p:] for path, p in zip(row.paths, prompt_lengths, strict=True)]
    return ResponseTokens(predicted_at=torch.cat(before), targets=row.tokens[torch.cat(inside)])


def response_logprobs(
    model: nn.Module,
    hidden: Tensor,
    *,
    tokens: ResponseTokens,
    temperature: float,
    with_entropy: bool = True,
) -> ResponseLogprobs:
    """log π(token | everything before it) at the sampling temperature, from hidden states at `predicted_at` (N, hidden)."""
    targets = tokens.targets.to(hidden.device)
    logits = model.get_output_embeddings()(hidden)  # (N, V)
    logprobs: Tensor = _ChosenLogprobs.apply(logits, targets, temperature)
    entropy = torch.zeros_like(logprobs)
    if with_entropy:
        with torch.no_grad():
            every = (
                _log_softmax(some, temperature=temperature) for some in logits.split(_rows(logits))
            )
            entropy = torch.cat([-(each.exp() * each).sum(-1) for each in every])
    return ResponseLogprobs(logprobs=logprobs, entropy=entropy)


def _log_softmax(logits: Tensor, *, temperature: float) -> Tensor:
    """In float32 at least."""
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return F.log_softmax(wide if temperature == 1.0 else wide / temperature, dim=-1)


def _rows(logits: Tensor) -> int:
    return CPU_ROWS if logits.device.type == "cpu" else GPU_ROWS


class _ChosenLogprobs(torch.autograd.Function):
    """log softmax(z / τ) at one token per row; d z = (1[chosen] − softmax) · g / τ.

    Some rows at a time: they stay in the cache, and nothing of (N, V) is kept but the logits.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor, temperature: float) -> Tensor:
        ctx.save_for_backward(logits, targets)
        ctx.temperature = temperature
        size = _rows(logits)
        found = [
            _log_softmax(some, temperature=temperature).gather(-1, own[:, None])[:, 0]
            for some, own in zip(logits.split(size), targets.split(size), strict=True)
        ]
        return torch.cat(found)  # (N,)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        logits, targets = ctx.saved_tensors
        (upstream,) = gradients
        of_logits = torch.empty_like(logits)
        size = _rows(logits)
        for start in range(0, len(logits), size):
            rows = slice(start, start + size)
            given = upstream[rows, None] / ctx.temperature  # (C, 1)
            every = _log_softmax(logits[rows], temperature=ctx.temperature).exp_().mul_(-given)
            of_logits[rows] = every.scatter_add_(-1, targets[rows, None], given)
        return of_logits, None, None


def packed_logprobs(
    model: nn.Module, row: PackedRow, *, prompt_lengths: Sequence[int], temperature: float
) -> ResponseLogprobs:
    """The same straight from a packed row, for models of which only the log-probabilities are wanted."""
    tokens = response_tokens(row, prompt_lengths=prompt_lengths)
    hidden = hidden_states(model, row, asked=tokens.predicted_at)
    return response_logprobs(model, hidden, tokens=tokens, temperature=temperature)
