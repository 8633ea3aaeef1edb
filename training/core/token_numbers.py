"""What policy, reference and critic say of a rollout's tokens before any update, read row by row.

It does not know how the responses were sampled, nor losses.

Legend: B responses, R tokens of the longest response, N response tokens of a row.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from modelserving.lm.attention import hidden_states
from modelserving.lm.policy import ResponseLogprobs, response_logprobs
from modelserving.lm.threads import in_threads
from training.core.distributed import Ranks
from training.core.rollout import Rollout, SampleRow
from training.core.sharding import whole

ALONE = Ranks()


def flat_tokens(table: Tensor, *, row: SampleRow, is_response: Tensor) -> Tensor:
    """The numbers of a row's response tokens, in the row's order: (N,)."""
    where = torch.tensor(row.samples)
    return table[where][is_response[where]]


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What policy and critic say of a row's response tokens, all (N,)."""

    logprobs: Tensor
    values: Tensor
    entropy: Tensor  # 0 where not asked for


def read_row(
    row: SampleRow,
    *,
    policy: nn.Module,
    value: "ValueReader",
    temperature: float,
    with_entropy: bool = False,
) -> Reading:
    """One forward pass of each network over the row."""
    hidden, said = _said(policy, row, temperature=temperature, with_entropy=with_entropy)
    return Reading(
        logprobs=said.logprobs, values=value.read(row, policy_hidden=hidden), entropy=said.entropy
    )


@dataclass(frozen=True, kw_only=True)
class TokenNumbers:
    """What the networks say of every response token before any update, all (B, R)."""

    logprobs: Tensor
    reference: Tensor
    values: Tensor
    entropy: Tensor


@torch.no_grad()
def read_back(
    rollout: Rollout,
    rows: Sequence[SampleRow],
    *,
    policy: nn.Module,
    reference: nn.Module,
    value: "ValueReader",
    temperature: float,
    ranks: Ranks = ALONE,
    threads: int = 1,
    keep: int = 0,
) -> tuple[TokenNumbers, list[Reading]]:
    """Log-probabilities, values and entropies, through the very rows that the first update will use.

    The same rows give the same sums: the ratio is exactly 1 before the first update. Each rank reads its own.
    The readings of the first `keep` rows are given back able to give gradients: the first update goes on from
    them. All of these rows are in memory at once.
    """

    def read_reference(row: SampleRow) -> Tensor:
        return _said(reference, row, temperature=temperature, with_entropy=False)[1].logprobs

    def read(row: SampleRow) -> Reading:
        return read_row(row, policy=policy, value=value, temperature=temperature, with_entropy=True)

    with whole(reference):
        frozen = in_threads(read_reference, rows, threads=threads)
    with whole(policy, *value.modules):
        others = in_threads(read, rows[keep:], threads=threads)
        with torch.enable_grad():
            kept = in_threads(read, rows[:keep], threads=threads)
    readings = [*kept, *others]
    table = partial(_table, rollout, rows, ranks=ranks)
    numbers = TokenNumbers(
        logprobs=table([each.logprobs for each in readings]),
        reference=table(frozen),
        values=table([each.values for each in readings]),
        entropy=table([each.entropy for each in readings]),
    )
    return numbers, kept


def _table(
    rollout: Rollout, rows: Sequence[SampleRow], found: Sequence[Tensor], *, ranks: Ranks
) -> Tensor:
    """(N,) of each row → (B, R) of all ranks."""
    table = torch.zeros(rollout.is_response.shape)  # 0 outside responses
    for row, flat in zip(rows, found, strict=True):
        where = torch.tensor(row.samples)
        part = torch.zeros(len(where), table.shape[1])
        part[rollout.is_response[where]] = flat.detach().float().cpu()
        table[where] = part
    return ranks.sum_tensor(table)


def _said(
    model: nn.Module, row: SampleRow, *, temperature: float, with_entropy: bool
) -> tuple[Tensor, ResponseLogprobs]:
    """Hidden states before each response token, and what the model says of the tokens."""
    hidden = hidden_states(model, row.row, asked=row.tokens.predicted_at)
    return hidden, response_logprobs(
        model, hidden, tokens=row.tokens, temperature=temperature, with_entropy=with_entropy
    )


class ValueReader:
    """The critic: a network of its own, or a scalar head on the policy's hidden states."""

    def __init__(self, *, head: nn.Module, network: nn.Module | None) -> None:
        self.head = head
        self.network = network

    @property
    def modules(self) -> list[nn.Module]:
        """What it reads with, beyond the policy."""
        return [self.head] if self.network is None else [self.head, self.network]

    def read(self, row: SampleRow, *, policy_hidden: Tensor) -> Tensor:
        """V of the state before each response token: (N,)."""
        hidden = policy_hidden
        if self.network is not None:
            hidden = hidden_states(self.network, row.row, asked=row.tokens.predicted_at)
        return self.head(hidden)[:, 0].float()
