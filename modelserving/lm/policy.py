"""Policies: log-probabilities of response tokens, and of nothing else.

It does not know rewards, advantages or how responses were sampled.

Legend: N response tokens of a packed row (all responses one after another), V vocabulary, T tokens of the row.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from modelserving.lm.attention import PackedRow, hidden_states
from modelserving.lm.passes import chosen, chosen_backward, entropies
from modelserving.lm.products import through


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
    logits = through(model.get_output_embeddings(), hidden)  # (N, V)
    found: tuple[Tensor, Tensor] = _ChosenLogprobs.apply(logits, targets, temperature)
    logprobs, sums = found
    entropy = torch.zeros_like(logprobs)
    if with_entropy:
        with torch.no_grad():
            entropy = entropies(logits, sums, temperature=temperature)
    return ResponseLogprobs(logprobs=logprobs, entropy=entropy)


class _ChosenLogprobs(torch.autograd.Function):
    """log softmax(z / τ) at one token per row, and the sums it took; nothing of (N, V) is kept but the logits."""

    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, targets: Tensor, temperature: float
    ) -> tuple[Tensor, Tensor]:
        logprobs, sums = chosen(logits, targets, temperature=temperature)
        ctx.save_for_backward(logits, targets, sums)
        ctx.temperature = temperature
        ctx.mark_non_differentiable(sums)
        return logprobs, sums  # (N,), (N, 2)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        logits, targets, sums = ctx.saved_tensors
        found = chosen_backward(
            gradients[0], logits=logits, tokens=targets, sums=sums, temperature=ctx.temperature
        )
        return found, None, None


def packed_logprobs(
    model: nn.Module, row: PackedRow, *, prompt_lengths: Sequence[int], temperature: float
) -> ResponseLogprobs:
    """The same straight from a packed row, for models of which only the log-probabilities are wanted."""
    tokens = response_tokens(row, prompt_lengths=prompt_lengths)
    hidden = hidden_states(model, row, asked=tokens.predicted_at)
    return response_logprobs(model, hidden, tokens=tokens, temperature=temperature)
