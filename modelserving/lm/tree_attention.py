"""Exact attention within each tree of a packed row, on the CPU.

It does not know where the trees come from: it gets their bounds and one additive bias per tree.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


def tree_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    bounds: Sequence[tuple[int, int]],
    biases: Sequence[Tensor],
    scale: float,
) -> Tensor:
    """softmax(scale · q kᵀ + bias) v per tree; all of query, key, value: (H, T, D) → (H, T, D)."""
    parts = [
        F.scaled_dot_product_attention(
            query[None, :, start:stop],
            key[None, :, start:stop],
            value[None, :, start:stop],
            attn_mask=bias,
            scale=scale,
        )[0]
        for (start, stop), bias in zip(bounds, biases, strict=True)
    ]
    return torch.cat(parts, dim=1)
