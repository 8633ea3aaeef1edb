"""One block of a Llama-like model over a packed row, forward and backward written by hand.

Few and large operations, gradients of weights straight from their products, and nothing computed for tokens that
nobody asks about. It does not know where weights live in a model, nor losses.

Legend: T tokens of the row, S tokens asked for (T unless it is the last block), U inputs (T unless equal ones are
given once), E hidden, H query heads, G key heads, D head size, I width of the MLP.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from modelserving.lm.heads import Angles
from modelserving.lm.passes import gated, gated_backward, norm, norm_backward
from modelserving.lm.products import add_, added, linears, product, products
from modelserving.lm.tree_attention import attend, attend_backward
from modelserving.lm.tree_plan import TreePlan


class BlockWeights(NamedTuple):
    """Matrices are (out, in), as transformers holds them."""

    norm_in: Tensor
    query: Tensor
    key: Tensor
    value: Tensor
    query_bias: Tensor | None
    key_bias: Tensor | None
    value_bias: Tensor | None
    out: Tensor
    norm_mlp: Tensor
    gate: Tensor
    up: Tensor
    down: Tensor


@dataclass(frozen=True, kw_only=True)
class BlockCall:
    """What a block needs beyond its input and weights."""

    plan: TreePlan
    turns: tuple[Angles, Angles]  # of the queries (S, 1, D), of the keys (T, 1, D)
    scale: float
    epsilon: float
    asked: Tensor | None  # (S,) the tokens whose results are wanted; None: all
    places: Tensor | None  # (T,) which input each token has, where all are wanted; None: its own
    recompute: bool  # keep the input alone and run forward again before backward
    # is given turned keys and values (T, G, D)
    keep: Callable[[Tensor, Tensor], None] | None = None


class _PackedBlock(torch.autograd.Function):
    """x + attention(norm(x)), then + mlp(norm(x)) (Touvron et al. 2023)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, call: BlockCall, *weights: Tensor | None) -> Tensor:
        own = BlockWeights(*weights)
        result, attention, mlp = _forward(x, own, call)
        kept = () if call.recompute else (*attention, *mlp)
        ctx.call, ctx.counts = call, (len(weights), len(attention))
        ctx.save_for_backward(x, *weights, *kept)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (upstream,) = gradients
        x, *rest = ctx.saved_tensors
        count, first = ctx.counts
        weights, kept = BlockWeights(*rest[:count]), rest[count:]
        if ctx.call.recompute:
            _, attention, mlp = _forward(x, weights, replace(ctx.call, keep=None))
        else:
            attention, mlp = kept[:first], kept[first:]
        upstream, of_mlp = _mlp_backward(upstream, weights, mlp)
        of_x, of_attention = _attention_backward(upstream, x, weights, attention, ctx.call)
        return (of_x, None, *of_attention, *of_mlp)


def packed_block(x: Tensor, *, weights: BlockWeights, call: BlockCall) -> Tensor:
    """x (U, E) → (S, E)."""
    result: Tensor = _PackedBlock.apply(x, call, *weights)
    return result


Kept = tuple[Tensor, ...]


def _forward(x: Tensor, weights: BlockWeights, call: BlockCall) -> tuple[Tensor, Kept, Kept]:
    """The result (S, E), and what the backward pass needs of both halves."""
    middle, attention = _attention(x, weights, call)
    h, scale = norm(middle, weights.norm_mlp, epsilon=call.epsilon)  # (S, E)
    gate, up = products((h, weights.gate.t()), (h, weights.up.t()))  # (S, I)
    result = added(middle, gated(gate, up), weights.down.t())
    return result, attention, (middle, h, scale, gate, up)


def _attention(x: Tensor, weights: BlockWeights, call: BlockCall) -> tuple[Tensor, Kept]:
    D = call.turns[1].cos.shape[-1]
    h, scale = norm(x, weights.norm_in, epsilon=call.epsilon)  # (U, E)
    asking = h if call.asked is None else h.index_select(0, call.asked)  # (S, E)
    query_ask = (asking, weights.query, weights.query_bias)
    asks = ((h, weights.key, weights.key_bias), (h, weights.value, weights.value_bias))
    alike = (
        linears(query_ask, *asks) if call.asked is None else [*linears(query_ask), *linears(*asks)]
    )
    if call.places is not None:
        x, *alike = (each.index_select(0, call.places) for each in (x, *alike))
    query, key, value = (
        each.unflatten(-1, (-1, D)) for each in alike
    )  # (S, H, D), (T, G, D) twice
    if call.keep is not None:
        call.keep(call.turns[1].turned(key), value)
    attended, seen = attend(query, key, value, plan=call.plan, scale=call.scale, turns=call.turns)
    attended = attended.flatten(1)  # (S, H·D)
    carried = x if call.asked is None else x.index_select(0, call.asked)
    middle = added(carried, attended, weights.out.t())  # (S, E)
    return middle, (h, scale, attended, *seen)


def _mlp_backward(
    upstream: Tensor, weights: BlockWeights, kept: Kept
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Gradient of the half's input (S, E); of the norm, gate, up and down weights."""
    middle, h, scale, gate, up = kept
    of_inner = product(upstream, weights.down)  # (S, I)
    of_gate, of_up, inner = gated_backward(of_inner, gate=gate, up=up)
    of_weights = (*products((of_gate.t(), h), (of_up.t(), h)), product(upstream.t(), inner))
    of_h = add_(product(of_gate, weights.gate), of_up, weights.up)  # (S, E)
    of_middle, of_norm = norm_backward(
        of_h, x=middle, weight=weights.norm_mlp, scale=scale, carried=upstream
    )
    return of_middle, (of_norm, *of_weights)


def _attention_backward(
    upstream: Tensor, x: Tensor, weights: BlockWeights, kept: Kept, call: BlockCall
) -> tuple[Tensor, tuple[Tensor | None, ...]]:
    """Gradient of the block's input (U, E); of its weights up to the output projection."""
    h, scale, attended, *seen = kept
    D = call.turns[1].cos.shape[-1]
    of_out = product(upstream.t(), attended)
    of_attended = product(upstream, weights.out).unflatten(-1, (-1, D))  # (S, H, D)
    found = attend_backward(of_attended, seen, plan=call.plan, scale=call.scale, turns=call.turns)
    of_query, of_key, of_value = (each.flatten(1) for each in found)  # (S, H·D), (T, G·D) twice
    if call.places is not None:
        of_query, of_key, of_value, upstream = (
            each.new_zeros(len(x), each.shape[1]).index_add_(0, call.places, each)
            for each in (of_query, of_key, of_value, upstream)
        )
    of_h = add_(product(of_key, weights.key), of_value, weights.value)  # (U, E)
    if call.asked is None:
        asking = h
        add_(of_h, of_query, weights.query)
    else:
        asking = h.index_select(0, call.asked)
        of_h.index_add_(0, call.asked, product(of_query, weights.query))
    of_x, of_norm = norm_backward(
        of_h, x=x, weight=weights.norm_in, scale=scale,
        carried=upstream if call.asked is None else None,
    )  # fmt: skip
    if call.asked is not None:
        of_x.index_add_(0, call.asked, upstream)
    sides = ((of_query.t(), asking), (of_key.t(), h), (of_value.t(), h))
    of_weights = products(*sides) if call.asked is None else [product(*each) for each in sides]
    biases = [
        None if bias is None else gradient.sum(0)
        for bias, gradient in zip(weights[4:7], (of_query, of_key, of_value), strict=True)
    ]
    return of_x, (of_norm, *of_weights, *biases, of_out)
