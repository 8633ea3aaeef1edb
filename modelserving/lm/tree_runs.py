"""Trees as runs for the flash kernels of a GPU: queries next to each other on one path, and the keys from root to last.

A tree's first branch goes on where its trunk ends, so both are one run; only further branches name their trunk again.
It knows bounds and paths, no queries, keys or models.

Legend: Q queries, T tokens of the row, R runs, K keys of all runs.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from modelserving.lm.tree_visibility import Visibility


@dataclass(frozen=True, kw_only=True)
class TreeRuns:
    """Run r multiplies queries query_starts[r] … query_starts[r + 1] with its keys; the last query sees the last key."""

    order: Tensor | None  # (Q,) which query stands where; None: as they come
    places: Tensor | None  # (Q,) its inverse
    keys: Tensor | None  # (K,) row index of each key; None: every token once, as they come
    first: Tensor  # (T,) where each token first stands among the keys
    again: Tensor  # where keys stand that stood before
    unseen: Tensor  # tokens that stand nowhere, as nobody asks about them
    query_starts: Tensor  # (R + 1,) int32
    key_starts: Tensor  # (R + 1,) int32
    longest: tuple[int, int]  # queries and keys of a run, at most
    window: int | None

    def in_order(self, queries: Tensor) -> Tensor:
        """(Q, H, D) run by run."""
        return queries if self.order is None else queries.index_select(0, self.order)

    def as_they_came(self, results: Tensor) -> Tensor:
        """The inverse."""
        return results if self.places is None else results.index_select(0, self.places)

    def of_keys(self, heads: Tensor) -> Tensor:
        """(T, G, D) → (K, G, D)."""
        return heads if self.keys is None else heads.index_select(0, self.keys)

    def summed(self, gradients: Tensor) -> Tensor:
        """(K, G, D) → (T, G, D): what all runs ask of a token, summed in float32."""
        if self.keys is None:
            return gradients
        total = gradients.index_select(0, self.first).float().index_fill_(0, self.unseen, 0)
        again = gradients.index_select(0, self.again).float()
        return total.index_add_(0, self.keys[self.again], again).to(gradients.dtype)


def tree_runs(
    visibility: Visibility, *, queries: Tensor | None, device: torch.device | str
) -> TreeRuns:
    """The runs of a row, of all its tokens or of the queries (Q,) alone; `visibility` lies on the CPU."""
    positions = visibility.positions.numpy()
    rows, order = np.arange(len(positions)), None
    if queries is not None:
        order = np.argsort(queries.cpu().numpy(), kind="stable")
        rows = queries.cpu().numpy()[order]
    begins = _begins(rows, positions=positions)
    ends = np.append(begins, len(rows))[1:]
    paths = list(_paths(rows[ends - 1], positions=positions))
    keys = np.concatenate(paths) if paths else rows[:0]
    lengths = [len(path) for path in paths]
    is_plain = order is None and np.array_equal(keys, rows)
    first, again, unseen = _places(keys, tokens=len(positions))

    def there(numbers: np.ndarray, *, dtype: torch.dtype = torch.long) -> Tensor:
        return torch.from_numpy(numbers).to(device=device, dtype=dtype, non_blocking=True)

    return TreeRuns(
        order=None if order is None else there(order),
        places=None if order is None else there(np.argsort(order)),
        keys=None if is_plain else there(keys),
        first=there(first),
        again=there(again),
        unseen=there(unseen),
        query_starts=there(np.append(begins, len(rows)), dtype=torch.int32),
        key_starts=there(np.cumsum([0, *lengths]), dtype=torch.int32),
        longest=(int(max(ends - begins, default=0)), max(lengths, default=0)),
        window=visibility.window,
    )


def _places(keys: np.ndarray, *, tokens: int) -> tuple[np.ndarray, ...]:
    """Where each token (T,) first stands, where some stand again, and which stand nowhere."""
    seen, first = np.unique(keys, return_index=True)
    everyone = np.zeros(tokens, dtype=np.int64)
    everyone[seen] = first
    again = np.setdiff1d(np.arange(len(keys)), first)
    return everyone, again, np.setdiff1d(np.arange(tokens), seen)


def _begins(rows: np.ndarray, *, positions: np.ndarray) -> np.ndarray:
    """Which of the rows, in rising order, do not follow on the one before."""
    at = positions[rows]
    follows = (np.diff(rows) == 1) & (np.diff(at) == 1)
    return np.flatnonzero(np.append(True, ~follows)[: len(rows)])


def _paths(lasts: np.ndarray, *, positions: np.ndarray) -> Iterator[np.ndarray]:
    """The path from the root to each of some tokens, in rising order."""
    begins = _begins(np.arange(len(positions)), positions=positions)
    ends = np.append(begins, len(positions))[1:]
    path = np.zeros(int(positions.max(initial=0)) + 1, dtype=np.int64)  # of the run in hand
    runs = zip(begins, ends, strict=True)
    begin = end = 0
    for last in lasts:
        while last >= end:
            begin, end = next(runs)
            first = positions[begin]
            path[first : first + end - begin] = np.arange(begin, end)
        yield path[: positions[last] + 1].copy()
