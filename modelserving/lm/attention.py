"""Attention over sequences packed into one row without padding, shared prefixes read once.

It knows nothing of preference models, policies or sampling: it sees token lists and a transformers model.

Legend: T tokens of the row, H heads, D head size, N tokens of one tree.

A row holds trees one after another, each laid out in depth-first order: a prompt, then its branches. Every token
carries `subtree_end`, the row index at which the subtree below its last continuation ends. Token q may look at
token k exactly when `k <= q < subtree_end[k]`: the same rule says causal, packed and branching.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import AttentionInterface

from modelserving.lm.packed_llama import KeepLayer, fits, packed_hidden
from modelserving.lm.products import FEWEST, multiplies_in_int16
from modelserving.lm.tree_attention import tree_attention
from modelserving.lm.tree_plan import TreePlan
from modelserving.lm.tree_visibility import Visibility

PACKED = "packed"
# rows are padded to a multiple of so many tokens: CPU kernels are compiled per shape and kept, those of int16 are not
ROW_STEP = 64


@dataclass(frozen=True, kw_only=True)
class PackedRow:
    """Token trees in one row. `paths[i]` are the row indices of the i-th sequence that was packed."""

    tokens: Tensor  # (T,)
    positions: Tensor  # (T,) position along the branch, restarting at 0 for every tree
    subtree_end: Tensor  # (T,)
    tree_starts: tuple[int, ...]  # one per tree, then T
    paths: tuple[Tensor, ...]

    @property
    def ends(self) -> Tensor:
        """Row index of the last token of each sequence: (S,)."""
        return torch.stack([path[-1] for path in self.paths])

    def to(self, device: torch.device | str) -> "PackedRow":
        """The same row on another device (paths and starts stay where they are used: on the CPU)."""
        moved = (each.to(device) for each in (self.tokens, self.positions, self.subtree_end))
        tokens, positions, subtree_end = moved
        return PackedRow(
            tokens=tokens,
            positions=positions,
            subtree_end=subtree_end,
            tree_starts=self.tree_starts,
            paths=self.paths,
        )


class _Tree:
    """Builds one prefix tree from sorted sequences, in depth-first order."""

    def __init__(self, start: int) -> None:
        self.start = start
        self.tokens: list[int] = []
        self.positions: list[int] = []
        self.subtree_end: list[int] = []

    def add(
        self, sequence: Sequence[int], *, path: list[int], previous: Sequence[int]
    ) -> list[int]:
        """Append what `sequence` does not share with `previous`; return its row indices."""
        shared = common_prefix(sequence, previous)
        self._close(path[shared:])
        fresh = range(
            self.start + len(self.tokens), self.start + len(self.tokens) + len(sequence) - shared
        )
        self.tokens.extend(sequence[shared:])
        self.positions.extend(range(shared, len(sequence)))
        self.subtree_end.extend([-1] * len(fresh))
        return [*path[:shared], *fresh]

    def _close(self, finished: list[int]) -> None:
        end = self.start + len(self.tokens)
        for index in finished:
            self.subtree_end[index - self.start] = end

    def close(self, path: list[int]) -> None:
        self._close(path)


def common_prefix(left: Sequence[int], right: Sequence[int]) -> int:
    """How many leading tokens the two sequences share."""
    limit = min(len(left), len(right))
    for index in range(limit):
        if left[index] != right[index]:
            return index
    return limit


def pack(groups: Sequence[Sequence[Sequence[int]]]) -> PackedRow:
    """One tree per group of token sequences; sequences of a group share every common prefix."""
    tokens: list[int] = []
    positions: list[int] = []
    subtree_end: list[int] = []
    starts: list[int] = []
    paths: list[Tensor] = []
    for group in groups:
        starts.append(len(tokens))
        tree = _Tree(len(tokens))
        group_paths: dict[int, Tensor] = {}
        path: list[int] = []
        previous: Sequence[int] = ()
        for index in sorted(range(len(group)), key=lambda each, group=group: list(group[each])):
            assert len(group[index]), "an empty sequence cannot be packed"
            path = tree.add(group[index], path=path, previous=previous)
            previous = group[index]
            group_paths[index] = torch.tensor(path, dtype=torch.long)
        tree.close(path)
        tokens += tree.tokens
        positions += tree.positions
        subtree_end += tree.subtree_end
        paths.extend(group_paths[index] for index in range(len(group)))
    return PackedRow(
        tokens=torch.tensor(tokens, dtype=torch.long),
        positions=torch.tensor(positions, dtype=torch.long),
        subtree_end=torch.tensor(subtree_end, dtype=torch.long),
        tree_starts=(*starts, len(tokens)),
        paths=tuple(paths),
    )


def packed_attention(
    _module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    packed: "RowAttention",
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **_: object,
) -> tuple[Tensor, None]:
    """transformers' attention interface over a packed row: query (1, H, T, D) → (1, T, H, D)."""
    assert attention_mask is None, "a packed row carries its own mask"
    assert dropout == 0.0, "dropout stays off: it would move the ratio before the first update"
    assert softcap is None, "attention with capped scores cannot be packed yet"
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    attended = packed.attend(query[0], key[0], value[0], scale=scale, window=sliding_window)
    return attended.transpose(0, 1)[None], None


class RowAttention:
    """The attention of one row: what is made once for all layers of one window."""

    def __init__(self, row: PackedRow, *, device: torch.device) -> None:
        """`row` lies on the CPU, queries and keys on `device`."""
        self._row, self._device = row, device
        self._longest = int(row.positions.max()) + 1
        self._plans: dict[tuple[int | None, bool], TreePlan] = {}

    def plan(self, *, window: int | None, queries: Tensor | None = None) -> TreePlan:
        """Which tokens are multiplied together; `queries` are the same in every call that gives any."""
        if window is not None and window >= self._longest:
            window = None
        key = (window, queries is not None)
        if key not in self._plans:
            row = self._row
            visibility = Visibility(
                subtree_end=row.subtree_end, positions=row.positions, window=window
            )
            self._plans[key] = TreePlan(
                starts=row.tree_starts, visibility=visibility, queries=queries, device=self._device
            )
        return self._plans[key]

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, *, scale: float, window: int | None
    ) -> Tensor:
        """query (H, T, D), key and value (H or fewer, T, D) → (H, T, D)."""
        return tree_attention(query, key, value, plan=self.plan(window=window), scale=scale)


def _up_to(length: int, step: int) -> int:
    return -(-length // step) * step


def _padded(row: PackedRow) -> PackedRow:
    """The row up to a common length with tokens that see and are seen by nobody else."""
    length = len(row.tokens)
    padded = max(length, FEWEST) if multiplies_in_int16() else _up_to(length, ROW_STEP)
    extra = torch.arange(length, padded)
    nothing = torch.zeros_like(extra)
    return PackedRow(
        tokens=torch.cat([row.tokens, nothing]),
        positions=torch.cat([row.positions, nothing]),
        subtree_end=torch.cat([row.subtree_end, extra + 1]),
        tree_starts=row.tree_starts,
        paths=row.paths,
    )


def hidden_states(
    model: nn.Module, row: PackedRow, *, asked: Tensor | None = None, keep: KeepLayer | None = None
) -> Tensor:
    """The backbone's last hidden states of the row's tokens, or of those at some indices: (T or S, hidden).

    `keep` is given what each layer's tokens leave behind; only hand-written blocks do so.
    """
    backbone = model.base_model
    parameter = next(backbone.parameters())
    length = len(row.tokens)
    padded = _padded(row)
    attention = RowAttention(padded, device=parameter.device)
    row = padded.to(parameter.device)
    if fits(backbone):
        hidden = packed_hidden(
            backbone,
            tokens=row.tokens,
            positions=row.positions,
            plans=lambda window, queries: attention.plan(window=window, queries=queries),
            asked=asked,
            keep=keep,
        )
        return hidden if asked is not None else hidden[:length]
    assert keep is None, "transformers' own blocks do not give their keys and values"
    backbone.config._attn_implementation = PACKED  # noqa: SLF001 -- transformers' own switch
    outputs = backbone(
        input_ids=row.tokens[None],
        position_ids=row.positions[None],
        use_cache=False,
        packed=attention,
    )
    hidden = outputs.last_hidden_state[0, :length]
    return hidden if asked is None else hidden[asked.to(hidden.device)]


def without_dropout(model: nn.Module) -> nn.Module:
    """Switch every dropout off for good, so that training mode changes nothing but checkpointing."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        for name in ("attention_dropout", "dropout_prob"):
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, 0.0)
    return model


AttentionInterface.register(PACKED, packed_attention)
