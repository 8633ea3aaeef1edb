"""Policies: log-probabilities of response tokens, and of nothing else.

It does not know rewards, advantages or how responses were sampled.

Legend: N response tokens of a packed row (all responses one after another), V vocabulary, T tokens of the row.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from modelserving.lm.attention import PackedRow, hidden_states, pack
from modelserving.lm.passes import chosen, chosen_backward, entropies
from modelserving.lm.products import through

# a prompt and the responses to it
ResponseTree = tuple[Sequence[int], Sequence[Sequence[int]]]


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


def pack_responses(trees: Sequence[ResponseTree]) -> tuple[PackedRow, ResponseTokens]:
    """Responses behind their prompts in one row, each without its last token: nothing is predicted from that."""
    assert all(prompt for prompt, _ in trees), (
        "a response's first token is predicted from its prompt"
    )
    row = pack([[[*prompt, *each[:-1]] for each in responses] for prompt, responses in trees])
    flat = [(len(prompt) - 1, each) for prompt, responses in trees for each in responses]
    before = [
        path[end : end + len(each)] for path, (end, each) in zip(row.paths, flat, strict=True)
    ]
    targets = torch.tensor([token for _, each in flat for token in each], dtype=torch.long)
    return row, ResponseTokens(predicted_at=torch.cat(before), targets=targets)


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
    model: nn.Module, trees: Sequence[ResponseTree], *, temperature: float
) -> ResponseLogprobs:
    """The same of responses in one row, for models of which only the log-probabilities are wanted."""
    row, tokens = pack_responses(trees)
    hidden = hidden_states(model, row, asked=tokens.predicted_at)
    return response_logprobs(model, hidden, tokens=tokens, temperature=temperature)
