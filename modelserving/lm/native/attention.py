"""The compiled attention over the trees of a packed row: its arguments in the form that it reads.

It does not know how rows are packed, nor models.

Legend: T tokens and Q queries of the row, H query heads, G key heads, D head width.
"""

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from modelserving.lm.native.compiling import NUMBERS, REAL, WHOLE
from modelserving.lm.passes import kind_of, numbers_at

NO_LIMIT = 2**62  # positions that a query sees before it


class _Trees(ctypes.Structure):
    _fields_ = (
        ("starts", NUMBERS), ("trees", WHOLE), ("subtree_ends", NUMBERS), ("positions", NUMBERS),
        ("reach", WHOLE), ("queries", NUMBERS), ("query_starts", NUMBERS), ("asked", NUMBERS),
    )  # fmt: skip


class _Heads(ctypes.Structure):
    _fields_ = (
        ("query_cos", NUMBERS), ("query_sin", NUMBERS), ("key_cos", NUMBERS), ("key_sin", NUMBERS),
        ("query_heads", WHOLE), ("key_heads", WHOLE), ("width", WHOLE), ("scale", REAL),
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class LaidTrees:
    """The trees of a row and their queries, tree by tree; whole numbers of 64 bits, lying together."""

    starts: Tensor  # (trees + 1,)
    subtree_ends: Tensor  # (T,)
    positions: Tensor  # (T,)
    window: int | None
    queries: Tensor  # (Q,)
    query_starts: Tensor  # (trees + 1,)
    asked: Tensor | None  # (Q,) row index of each query; None: all tokens ask

    def as_read(self) -> _Trees:
        """What the compiled code reads; it points at these tensors."""
        tables = (self.starts, self.subtree_ends, self.positions, self.queries, self.query_starts)
        starts, ends, positions, queries, query_starts = (
            numbers_at(each, torch.long) for each in tables
        )
        return _Trees(
            starts=starts, trees=len(self.starts) - 1, subtree_ends=ends, positions=positions,
            reach=NO_LIMIT if self.window is None else self.window, queries=queries,
            query_starts=query_starts, asked=numbers_at(self.asked, torch.long),
        )  # fmt: skip


def forward(
    library: ctypes.CDLL,
    heads: tuple[Tensor, Tensor, Tensor],
    *,
    trees: LaidTrees,
    tables: Sequence[Tensor | None],
    scale: float,
) -> Tensor:
    """query (Q, H, D), key and value (T, G, D) → (Q, H, D), zeros where a query belongs to no tree."""
    _check(heads, trees=trees)
    query, key, value = heads
    results = _room(query, trees=trees, is_asked=trees.asked is not None)
    failed = library.attention_forward(
        kind_of(query),
        ctypes.byref(trees.as_read()),
        ctypes.byref(_as_read(heads, tables=tables, scale=scale)),
        numbers_at(query),
        numbers_at(key),
        numbers_at(value),
        numbers_at(results),
        torch.get_num_threads(),
    )
    if failed:
        raise MemoryError("not enough memory for attention within a tree")
    return results


def backward(
    library: ctypes.CDLL,
    upstream: Tensor,
    heads: tuple[Tensor, Tensor, Tensor],
    *,
    trees: LaidTrees,
    tables: Sequence[Tensor | None],
    scale: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of query (Q, H, D), key and value (T, G, D) from that of the results (Q, H, D)."""
    _check(heads, trees=trees)
    query, key, value = heads
    if upstream.shape != query.shape:
        raise ValueError(f"a gradient {tuple(upstream.shape)} of results {tuple(query.shape)}")
    found = (
        _room(query, trees=trees, is_asked=trees.asked is not None),
        _room(key, trees=trees),
        _room(value, trees=trees),
    )
    failed = library.attention_backward(
        kind_of(query),
        ctypes.byref(trees.as_read()),
        ctypes.byref(_as_read(heads, tables=tables, scale=scale)),
        *map(numbers_at, heads),
        numbers_at(upstream, query.dtype),
        *map(numbers_at, found),
        torch.get_num_threads(),
    )
    if failed:
        raise MemoryError("not enough memory for attention within a tree")
    return found


def _check(heads: tuple[Tensor, Tensor, Tensor], *, trees: LaidTrees) -> None:
    """The compiled code reads what it is told is there."""
    query, key, value = heads
    (Q, H, D), (T, G, _) = query.shape, key.shape
    fits = key.shape == value.shape == (len(trees.positions), G, D) and H % G == 0
    if not fits or (T if trees.asked is None else len(trees.asked)) != Q:
        shapes = ", ".join(str(tuple(each.shape)) for each in heads)
        raise ValueError(f"queries, keys and values {shapes} of {len(trees.positions)} tokens")


def _room(like: Tensor, *, trees: LaidTrees, is_asked: bool = False) -> Tensor:
    """Room for numbers of all tokens, or of those that are asked about; zeros where no tree will write."""
    if is_asked:
        return torch.zeros_like(like)
    found = torch.empty_like(like)
    found[int(trees.starts[-1]) :] = 0
    return found


def _as_read(
    heads: tuple[Tensor, Tensor, Tensor], *, tables: Sequence[Tensor | None], scale: float
) -> _Heads:
    query, key, _ = heads
    query_cos, query_sin, key_cos, key_sin = map(numbers_at, tables)
    return _Heads(
        query_cos=query_cos, query_sin=query_sin, key_cos=key_cos, key_sin=key_sin,
        query_heads=query.shape[1], key_heads=key.shape[1], width=query.shape[2], scale=scale,
    )  # fmt: skip
