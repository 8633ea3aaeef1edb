"""RMS norms of transformers' models by the passes of this package, several times as fast in bfloat16 on a CPU.

It does not know the model beyond the class names of its norms; weights and their names stay as they were.

Legend: … leading dimensions, D hidden size.
"""

from typing import Any

import torch
from torch import Tensor, nn

from modelserving.lm.passes import norm, norm_backward

# norms of the form w · x / √(mean x² + ε); Gemma's, which multiplies with 1 + w, is not one of them
PLAIN_NORMS = ("LlamaRMSNorm", "MistralRMSNorm", "Phi3RMSNorm", "Qwen2RMSNorm", "Qwen3RMSNorm")


class _RMSNorm(torch.autograd.Function):
    """y = w ∘ n."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
        found, scale = norm(x, weight, epsilon=epsilon)
        ctx.save_for_backward(x, weight, scale)
        return found

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (upstream,) = gradients
        x, weight, scale = ctx.saved_tensors
        return (*norm_backward(upstream, x=x, weight=weight, scale=scale), None)


class FusedRMSNorm(nn.Module):
    """Takes the place of a norm and holds its weight under the same name."""

    def __init__(self, weight: nn.Parameter, *, epsilon: float) -> None:
        super().__init__()
        self.weight = weight
        self.epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        """(…, D) → (…, D)."""
        result: Tensor = _RMSNorm.apply(x, self.weight, self.epsilon)
        return result


def fuse_norms(model: nn.Module) -> nn.Module:
    """Replace the plain RMS norms of a model on the CPU; a GPU has kernels of its own."""
    if next(model.parameters()).is_cuda:
        return model
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if type(child).__name__ in PLAIN_NORMS:
                fused = FusedRMSNorm(child.weight, epsilon=child.variance_epsilon)
                setattr(parent, name, fused)
    return model
