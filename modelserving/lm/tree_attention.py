"""Exact attention within each tree of a packed row, on the CPU.

It does not know where the trees come from: it gets their bounds and one additive bias per tree.

Plain products and a softmax beat PyTorch's CPU kernels at these sizes (hundreds of tokens, bfloat16), and one
autograd function over the whole row saves a full-size gradient per slice.

Legend: H heads, T tokens of the row, D head size, N tokens of one tree.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def tree_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    bounds: Sequence[tuple[int, int]],
    biases: Sequence[Tensor],
    scale: float,
) -> Tensor:
    """softmax(scale · q kᵀ + bias) v per tree; query, key, value (H, T, D) → (H, T, D). Biases: (N, N)."""
    result: Tensor = _TreeAttention.apply(query, key, value, bounds, biases, scale)
    return result


class _TreeAttention(torch.autograd.Function):
    """Forward keeps the probabilities of each tree, N² per head: trees are short, rows hold many."""

    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        bounds: Sequence[tuple[int, int]],
        biases: Sequence[Tensor],
        scale: float,
    ) -> Tensor:
        # heads side by side per token, as the projections left them: no copy before or after
        attended = torch.empty_like(query.transpose(0, 1), memory_format=torch.contiguous_format)
        attended = attended.transpose(0, 1)  # (H, T, D)
        probabilities = []
        for (start, stop), bias in zip(bounds, biases, strict=True):
            each = _probabilities(
                query[:, start:stop], key[:, start:stop], bias, scale
            )  # (H, N, N)
            attended[:, start:stop] = each @ value[:, start:stop]
            probabilities.append(each)
        ctx.bounds, ctx.scale = bounds, scale
        ctx.save_for_backward(query, key, value, *probabilities)
        return attended

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (of_attended,) = gradients
        query, key, value, *probabilities = ctx.saved_tensors
        of_query, of_key, of_value = (_like_tokens(each) for each in (query, key, value))
        for (start, stop), each in zip(ctx.bounds, probabilities, strict=True):
            here = slice(start, stop)
            upstream = of_attended[:, here]
            of_value[:, here] = each.transpose(1, 2) @ upstream
            of_probabilities = upstream @ value[:, here].transpose(1, 2)  # (H, N, N)
            of_scores = _softmax_backward(of_probabilities, each) * ctx.scale
            of_query[:, here] = of_scores @ key[:, here]
            of_key[:, here] = of_scores.transpose(1, 2) @ query[:, here]
        return of_query, of_key, of_value, None, None, None


def _probabilities(query: Tensor, key: Tensor, bias: Tensor, scale: float) -> Tensor:
    scores = torch.baddbmm(bias[None], query, key.transpose(1, 2), alpha=scale)
    return scores.softmax(dim=-1)


def _softmax_backward(upstream: Tensor, probabilities: Tensor) -> Tensor:
    """P ∘ (dP − Σ dP ∘ P) in one kernel."""
    return torch._softmax_backward_data(  # noqa: SLF001 -- autograd's own kernel
        upstream, probabilities, -1, probabilities.dtype
    )


def _like_tokens(tensor: Tensor) -> Tensor:
    """Empty (H, T, D) with the heads of one token next to each other in memory."""
    heads, tokens, width = tensor.shape
    return tensor.new_empty(tokens, heads, width).transpose(0, 1)
