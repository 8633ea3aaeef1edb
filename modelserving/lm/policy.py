"""Policies: log-probabilities of response tokens, and of nothing else.

It does not know rewards, advantages or how responses were sampled.

Legend: N response tokens of a packed row (all responses one after another), V vocabulary, T tokens of the row.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from modelserving.lm.attention import PackedRow, hidden_states


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
    logits = model.get_output_embeddings()(hidden).float()  # (N, V)
    if temperature != 1.0:
        logits = logits / temperature
    log_normaliser = logits.logsumexp(dim=-1)  # (N,)
    chosen = logits.gather(-1, targets[:, None])[:, 0]  # (N,)
    entropy = torch.zeros_like(log_normaliser)
    if with_entropy:
        with torch.no_grad():
            probabilities = (logits - log_normaliser[:, None]).exp()
            entropy = log_normaliser - (probabilities * logits).sum(-1)
    return ResponseLogprobs(logprobs=chosen - log_normaliser, entropy=entropy)


def packed_logprobs(
    model: nn.Module, row: PackedRow, *, prompt_lengths: Sequence[int], temperature: float
) -> ResponseLogprobs:
    """The same straight from a packed row, for models of which only the log-probabilities are wanted."""
    tokens = response_tokens(row, prompt_lengths=prompt_lengths)
    hidden = hidden_states(model, row, asked=tokens.predicted_at)
    return response_logprobs(model, hidden, tokens=tokens, temperature=temperature)
