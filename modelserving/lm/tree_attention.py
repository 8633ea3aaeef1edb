"""Exact attention within each tree of a packed row: compiled code on a CPU, flash kernels on a GPU.

It does not know where the trees come from: a plan says which tokens are multiplied together.

Elsewhere plain products and a softmax, which beat PyTorch's CPU kernels at these sizes (hundreds of tokens). Heads lie
contiguous, because strided products cost a third more; trees of like length are one product; keys behind the last
query of a block are not read.

Legend: Q queries, T tokens of the row, H heads, G key heads, D head size; B, M, N trees, queries and keys of a bucket.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from modelserving.lm import flash
from modelserving.lm.heads import Rotations, by_token, by_tree
from modelserving.lm.native import attention as compiled
from modelserving.lm.passes import compiled_for
from modelserving.lm.tree_plan import TreeBucket, TreePlan


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    plan: TreePlan,
    scale: float,
    turns: Rotations | None = None,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """softmax(scale · q kᵀ + bias) v; query (Q, H, D), key and value (T, G, D) → (Q, H, D).

    Queries and keys are turned first where `turns` are given. Also what the backward pass needs.
    """
    if flash.suits(query):
        return flash.forward(query, key, value, runs=plan.runs, scale=scale, turns=turns)
    tables = _tables(turns)
    library = compiled_for(query, key, value, *tables)
    if library is None:
        return _attend_in_rectangles(query, key, value, plan=plan, scale=scale, turns=turns)
    heads = (query.contiguous(), key.contiguous(), value.contiguous())
    results = compiled.forward(library, heads, trees=plan.laid, tables=tables, scale=scale)
    return results, heads


def attend_backward(
    upstream: Tensor,
    seen: Sequence[Tensor],
    *,
    plan: TreePlan,
    scale: float,
    turns: Rotations | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of query (Q, H, D), key and value (T, G, D) from that of the result (Q, H, D)."""
    if flash.suits(upstream):
        return flash.backward(upstream, seen, runs=plan.runs, scale=scale, turns=turns)
    tables = _tables(turns)
    library = compiled_for(seen[0], *tables)
    if library is None or not _lies_by_token(seen):
        return _backward_in_rectangles(upstream, seen, plan=plan, scale=scale, turns=turns)
    query, key, value = seen
    return compiled.backward(
        library,
        upstream.contiguous(),
        (query, key, value),
        trees=plan.laid,
        tables=tables,
        scale=scale,
    )


def _lies_by_token(seen: Sequence[Tensor]) -> bool:
    """Whether the forward pass was the compiled one: it keeps the heads as they came, (Q, H, D)."""
    return seen[0].ndim == 3


def _tables(turns: Rotations | None) -> tuple[Tensor | None, ...]:
    if turns is None:
        return (None,) * 4
    tables = (each for angles in turns for each in (angles.cos, angles.sin))
    return tuple(each.contiguous() for each in tables)


def _attend_in_rectangles(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    plan: TreePlan,
    scale: float,
    turns: Rotations | None,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """By torch's operations; of each bucket its heads, and of each of its blocks the probabilities are kept."""
    of_queries, of_keys = turns or (None, None)
    results: list[Tensor] = []
    seen: list[Tensor] = []
    rectangles = plan.rectangles(query.dtype)
    for bucket in rectangles.buckets:
        q = by_tree(query, bucket.queries, trees=bucket.trees, angles=of_queries)  # (B, H, M, D)
        k = by_tree(key, bucket.keys, trees=bucket.trees, angles=of_keys).flatten(0, 1)
        v = by_tree(value, bucket.keys, trees=bucket.trees).flatten(0, 1)  # (B·G, N, D)
        result, probabilities = _attend(q, k, v, bucket=bucket, scale=scale)
        results.append(result)
        seen += [q, k, v, *probabilities]
    return by_token(results, rectangles.query_places), tuple(seen)


def _attend(
    q: Tensor, k: Tensor, v: Tensor, *, bucket: TreeBucket, scale: float
) -> tuple[Tensor, list[Tensor]]:
    """Of one bucket the results (B, H, M, D), and the probabilities of each block."""
    results, probabilities = [], []
    for first, stop, keys in bucket.blocks:
        asking = _rows(q[:, :, first:stop], key_heads=len(k))
        bias = bucket.bias[:, None, first:stop, :keys].expand(-1, q.shape[1], -1, -1)
        scores = bias.clone(memory_format=torch.contiguous_format)
        scores = scores.view(len(k), -1, keys)  # (B·G, H/G·M, N)
        scores.baddbmm_(asking, k[:, :keys].transpose(1, 2), alpha=scale)
        found = scores.softmax(dim=-1)
        results.append(torch.bmm(found, v[:, :keys]).view(*q.shape[:2], -1, q.shape[3]))
        probabilities.append(found)
    return torch.cat(results, dim=2) if results[1:] else results[0], probabilities


def _backward_in_rectangles(
    upstream: Tensor,
    seen: Sequence[Tensor],
    *,
    plan: TreePlan,
    scale: float,
    turns: Rotations | None,
) -> tuple[Tensor, Tensor, Tensor]:
    of_query, of_key, of_value = [], [], []
    start = 0
    rectangles = plan.rectangles(upstream.dtype)
    for bucket in rectangles.buckets:
        kept = seen[start : start + 3 + len(bucket.blocks)]
        start += len(kept)
        given = by_tree(upstream, bucket.queries, trees=bucket.trees)  # (B, H, M, D)
        found = _attend_backward(given, kept, bucket=bucket)
        for gathered, each in zip((of_query, of_key, of_value), found, strict=True):
            gathered.append(each)
    of_queries, of_keys = turns or (None, None)
    return (
        by_token(of_query, rectangles.query_places, angles=of_queries, factor=scale),
        by_token(of_key, rectangles.key_places, angles=of_keys, factor=scale),
        by_token(of_value, rectangles.key_places),
    )


def _attend_backward(
    given: Tensor, kept: Sequence[Tensor], *, bucket: TreeBucket
) -> tuple[Tensor, Tensor, Tensor]:
    """Of one bucket, all (B, heads, places, D); those of query and key lack the scale."""
    q, k, v, *probabilities = kept  # (B, H, M, D), (B·G, N, D), (B·G, N, D), (B·G, H/G·M, N) each
    of_query = torch.empty_like(q)
    of_key, of_value = torch.zeros_like(k), torch.zeros_like(v)
    for (first, stop, keys), found in zip(bucket.blocks, probabilities, strict=True):
        own = _rows(given[:, :, first:stop], key_heads=len(k))
        asking = _rows(q[:, :, first:stop], key_heads=len(k))
        of_scores = torch._softmax_backward_data(  # noqa: SLF001 -- P ∘ (dP − Σ dP ∘ P) in one kernel
            torch.bmm(own, v[:, :keys].transpose(1, 2)), found, -1, found.dtype
        )
        of_query[:, :, first:stop] = torch.bmm(of_scores, k[:, :keys]).view(
            *q.shape[:2], -1, q.shape[3]
        )
        of_value[:, :keys].baddbmm_(found.transpose(1, 2), own)
        of_key[:, :keys].baddbmm_(of_scores.transpose(1, 2), asking)
    shape = (bucket.trees, -1, *k.shape[1:])
    return of_query, of_key.view(shape), of_value.view(shape)


def _rows(heads: Tensor, *, key_heads: int) -> Tensor:
    """(B, H, M, D) → (B·G, H/G·M, D): query heads of one key head, as rows."""
    return heads.reshape(key_heads, -1, heads.shape[3])


def tree_attention(
    query: Tensor, key: Tensor, value: Tensor, *, plan: TreePlan, scale: float
) -> Tensor:
    """The same under autograd: query (H, T, D), key and value (G, T, D) → (H, T, D)."""
    token_first = (each.transpose(0, 1) for each in (query, key, value))
    result: Tensor = _TreeAttention.apply(*token_first, plan, scale)
    return result.transpose(0, 1)


class _TreeAttention(torch.autograd.Function):
    """Keeps the probabilities of each tree: trees are short, rows hold many."""

    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, plan: TreePlan, scale: float
    ) -> Tensor:
        attended, seen = attend(query, key, value, plan=plan, scale=scale)
        ctx.save_for_backward(*seen)
        ctx.plan, ctx.scale = plan, scale
        return attended

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (upstream,) = gradients
        found = attend_backward(upstream, ctx.saved_tensors, plan=ctx.plan, scale=ctx.scale)
        return (*found, None, None)
