"""Exact attention within each tree of a packed row, on the CPU.

It does not know where the trees come from: it gets their bounds and one additive bias per tree.

Plain products and a softmax beat PyTorch's CPU kernels at these sizes (hundreds of tokens, bfloat16), and one
autograd function over the whole row saves a full-size gradient per slice.

Legend: H heads, T tokens of the row, D head size, N tokens of one tree, M ≥ N tokens of its span.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class TreeSpan:
    """A tree's tokens [start, stop) within a span [start, end) of a round length."""

    start: int
    stop: int
    end: int
    bias: Tensor  # (M, M) added to the scores; −inf in the columns that do not belong to the tree

    @property
    def whole(self) -> slice:
        """All tokens of the span."""
        return slice(self.start, self.end)


def tree_attention(
    query: Tensor, key: Tensor, value: Tensor, *, spans: Sequence[TreeSpan], scale: float
) -> Tensor:
    """softmax(scale · q kᵀ + bias) v per tree; query, key, value (H, T, D) → (H, T, D).

    Spans come in the order of the row: what one writes behind its tree, the next overwrites.
    """
    result: Tensor = _TreeAttention.apply(query, key, value, spans, scale)
    return result


class _TreeAttention(torch.autograd.Function):
    """Forward keeps the probabilities of each tree, N² per head: trees are short, rows hold many."""

    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        spans: Sequence[TreeSpan],
        scale: float,
    ) -> Tensor:
        attended = _like_tokens(query, written_to=spans[-1].end)
        kept = []
        for span in spans:
            here = span.whole
            scores = torch.baddbmm(
                span.bias[None], query[:, here], key[:, here].transpose(1, 2), alpha=scale
            )
            probabilities = scores.softmax(dim=-1)  # (H, M, M)
            probabilities[:, span.stop - span.start :] = 0
            attended[:, here] = probabilities @ value[:, here]
            kept.append(probabilities)
        ctx.spans, ctx.scale = spans, scale
        ctx.save_for_backward(query, key, value, *kept)
        return attended

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (of_attended,) = gradients
        query, key, value, *kept = ctx.saved_tensors
        end = ctx.spans[-1].end
        of_query, of_key, of_value = (
            _like_tokens(each, written_to=end) for each in (query, key, value)
        )
        for span, probabilities in zip(ctx.spans, kept, strict=True):
            here = span.whole
            upstream = of_attended[:, here]
            of_value[:, here] = probabilities.transpose(1, 2) @ upstream
            of_probabilities = upstream @ value[:, here].transpose(1, 2)  # (H, M, M)
            of_scores = _softmax_backward(of_probabilities, probabilities) * ctx.scale
            of_query[:, here] = of_scores @ key[:, here]
            of_key[:, here] = of_scores.transpose(1, 2) @ query[:, here]
        return of_query, of_key, of_value, None, None


def _softmax_backward(upstream: Tensor, probabilities: Tensor) -> Tensor:
    """P ∘ (dP − Σ dP ∘ P) in one kernel."""
    return torch._softmax_backward_data(  # noqa: SLF001 -- autograd's own kernel
        upstream, probabilities, -1, probabilities.dtype
    )


def _like_tokens(tensor: Tensor, *, written_to: int) -> Tensor:
    """(H, T, D) with the heads of one token next to each other, as the projections want them; 0 behind the trees."""
    heads, tokens, width = tensor.shape
    made = tensor.new_empty(tokens, heads, width)
    made[written_to:] = 0
    return made.transpose(0, 1)
