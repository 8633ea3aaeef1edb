"""Which tokens of a packed row are attended to together: its trees, or trees of like length as one rectangle.

It knows bounds and visibility, no queries, keys or models.

Legend: B trees of a bucket, M queries and N keys of each, Q queries and T tokens of the row.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

import torch
from torch import Tensor

from modelserving.lm.native.attention import LaidTrees
from modelserving.lm.tree_runs import TreeRuns, tree_runs
from modelserving.lm.tree_visibility import Visibility

# Shapes that come again and again: CPU kernels are compiled per shape and kept.
LENGTH_STEP = 32
LIKE = 0.8  # the shortest tree of a bucket has at least this share of the longest one's length
BLOCK = 128  # queries that are multiplied with the same keys: those up to the last of them


@dataclass(frozen=True, kw_only=True)
class TreeBucket:
    """Trees of like length, each with something behind it that stands for nothing."""

    trees: int  # B
    queries: Tensor  # (B·M,) which query stands there; behind a tree's queries -1
    keys: Tensor  # (B·N,) row index of each key
    bias: Tensor  # (B, M, N) 0 where the query may look, −inf elsewhere
    blocks: tuple[tuple[int, int, int], ...]  # queries [first, stop) see keys below the third

    def to(self, device: torch.device | str) -> "TreeBucket":
        """The same elsewhere."""
        names = ("queries", "keys", "bias")
        return replace(self, **{name: getattr(self, name).to(device) for name in names})


@dataclass(frozen=True, kw_only=True)
class Rectangles:
    """The buckets of a row and where each query and key stands in them, counted through all buckets.

    One more place behind the last holds zeros, for tokens that belong to no tree.
    """

    buckets: tuple[TreeBucket, ...]
    query_places: Tensor  # (Q,)
    key_places: Tensor  # (T,)

    def to(self, device: torch.device | str) -> "Rectangles":
        """The same elsewhere."""
        return Rectangles(
            buckets=tuple(each.to(device) for each in self.buckets),
            query_places=self.query_places.to(device),
            key_places=self.key_places.to(device),
        )


@dataclass(frozen=True, kw_only=True)
class TreePlan:
    """Trees and the queries that ask in them, laid out once for all layers in the form that multiplies them.

    What it is made of lies on the CPU; what is laid out, on the device of the heads.
    """

    starts: Sequence[int]  # bounds the trees, one behind the other
    visibility: Visibility
    queries: Tensor | None = None  # (Q,) row indices; None: all tokens ask
    device: torch.device | str = "cpu"

    @cached_property
    def laid(self) -> LaidTrees:
        """For the compiled attention."""
        starts = torch.tensor(self.starts)
        queries, query_starts = torch.arange(self.starts[-1]), starts
        if self.queries is not None:
            tree = torch.bucketize(self.queries, starts[1:], right=True)
            queries = tree.argsort(stable=True)
            query_starts = torch.searchsorted(tree[queries], torch.arange(len(starts)))
        return LaidTrees(
            starts=starts,
            subtree_ends=self.visibility.subtree_end.contiguous(),
            positions=self.visibility.positions.contiguous(),
            window=self.visibility.window,
            queries=queries,
            query_starts=query_starts,
            asked=None if self.queries is None else self.queries.contiguous(),
        )

    @cached_property
    def runs(self) -> TreeRuns:
        """For the flash kernels of a GPU."""
        return tree_runs(self.visibility, queries=self.queries, device=self.device)

    def rectangles(self, dtype: torch.dtype) -> Rectangles:
        """For torch's operations, with scores of this type."""
        if dtype not in self._rectangles:
            found = _rectangles(self.starts, self.visibility, dtype=dtype, queries=self.queries)
            self._rectangles[dtype] = found.to(self.device)
        return self._rectangles[dtype]

    @cached_property
    def _rectangles(self) -> dict[torch.dtype, Rectangles]:
        return {}


def _rectangles(
    starts: Sequence[int],
    visibility: Visibility,
    *,
    dtype: torch.dtype,
    queries: Tensor | None,
) -> Rectangles:
    bounds = list(pairwise(starts))
    length = len(visibility.subtree_end)
    asked = _asked(bounds, queries=queries)
    buckets: list[TreeBucket] = []
    query_places = torch.full((length if queries is None else len(queries),), -1)
    key_places = torch.full((length,), -1)
    used_queries = used_keys = 0
    for chosen in _alike([stop - start for start, stop in bounds]):
        trees = [(bounds[each], asked[each]) for each in chosen]
        bucket = _bucket(trees, visibility, dtype=dtype, rows=queries)
        buckets.append(bucket)
        width = len(bucket.keys) // len(trees)
        asking = len(bucket.queries) // len(trees)
        for row, ((start, stop), own) in enumerate(trees):
            at = used_keys + row * width
            key_places[start:stop] = torch.arange(at, at + stop - start)
            at = used_queries + row * asking
            query_places[own] = torch.arange(at, at + len(own))
        used_queries += len(bucket.queries)
        used_keys += len(bucket.keys)
    query_places[query_places < 0] = used_queries
    key_places[key_places < 0] = used_keys
    return Rectangles(buckets=tuple(buckets), query_places=query_places, key_places=key_places)


def _asked(bounds: Sequence[tuple[int, int]], *, queries: Tensor | None) -> list[Tensor]:
    """Which queries lie in each tree."""
    if queries is None:
        return [torch.arange(start, stop) for start, stop in bounds]
    inside = ((queries >= start) & (queries < stop) for start, stop in bounds)
    return [each.nonzero()[:, 0] for each in inside]


def _up_to(length: int, step: int) -> int:
    return -(-length // step) * step


def _alike(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Trees by falling length, as many together as are of like length."""
    bucket: list[int] = []
    for tree in sorted(range(len(lengths)), key=lambda each: (-lengths[each], each)):
        if bucket:
            longest, own = (_up_to(lengths[each], LENGTH_STEP) for each in (bucket[0], tree))
            if own < LIKE * longest and longest - own > LENGTH_STEP:
                yield bucket
                bucket = []
        bucket.append(tree)
    yield bucket


def _bucket(
    trees: Sequence[tuple[tuple[int, int], Tensor]],
    visibility: Visibility,
    *,
    dtype: torch.dtype,
    rows: Tensor | None,
) -> TreeBucket:
    width = max(_up_to(stop - start, LENGTH_STEP) for (start, stop), _ in trees)
    asking = width if rows is None else max(1, *(len(own) for _, own in trees))
    keys = torch.stack([torch.arange(start, start + width) for (start, _), _ in trees])  # (B, N)
    queries = torch.zeros(len(trees), asking, dtype=torch.long)
    is_behind = torch.ones(queries.shape, dtype=torch.bool)
    for row, (_, own) in enumerate(trees):
        queries[row, : len(own)] = own
        is_behind[row, : len(own)] = False
    at = queries if rows is None or not len(rows) else rows[queries]
    seen = visibility.allowed(query=at[:, :, None], key=keys[:, None, :])  # (B, M, N)
    seen |= is_behind[:, :, None]  # no query without a visible key
    blocks = ((0, asking, width),) if rows is not None else tuple(_blocks(width))
    return TreeBucket(
        trees=len(trees),
        queries=queries.masked_fill(is_behind, -1).flatten(),
        keys=keys.clamp(max=len(visibility.subtree_end) - 1).flatten(),
        bias=torch.zeros(seen.shape, dtype=dtype).masked_fill(~seen, float("-inf")),
        blocks=blocks,
    )


def _blocks(width: int) -> Iterator[tuple[int, int, int]]:
    """Blocks of like size: a query never sees a key behind it."""
    size = _up_to(-(-width // -(-width // BLOCK)), LENGTH_STEP)
    for first in range(0, width, size):
        stop = min(first + size, width)
        yield first, stop, stop
