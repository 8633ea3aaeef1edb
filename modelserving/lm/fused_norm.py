"""RMS norms with a short hand-written backward, about four times as fast in bfloat16 on a CPU.

It does not know the model beyond the class names of its norms; weights and their names stay as they were.

Legend: … leading dimensions, D hidden size.
"""

from typing import Any

import torch
from torch import Tensor, nn

# norms of the form w · x / √(mean x² + ε); Gemma's, which multiplies with 1 + w, is not one of them
PLAIN_NORMS = ("LlamaRMSNorm", "MistralRMSNorm", "Phi3RMSNorm", "Qwen2RMSNorm", "Qwen3RMSNorm")


def normal_forward(x: Tensor, *, epsilon: float) -> tuple[Tensor, Tensor]:
    """n = x · r and r = 1 / √(mean x² + ε) (Zhang & Sennrich 2019): (…, D) and (…, 1)."""
    norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=_wide(x))
    scale = norm.square_().div_(x.shape[-1]).add_(epsilon).rsqrt_()
    return (x.to(scale.dtype) * scale).to(x.dtype), scale


def normal_backward(
    upstream: Tensor, *, normal: Tensor, weight: Tensor, scale: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradients g of y = w ∘ n: dx = r · (w∘g − n · mean(w∘g∘n)), dw = Σ g∘n."""
    of_weight = upstream * normal
    along = (of_weight * weight).sum(-1, keepdim=True, dtype=scale.dtype) / normal.shape[-1]
    of_x = torch.addcmul(upstream * weight, normal, along.to(normal.dtype), value=-1)
    of_x *= scale.to(normal.dtype)
    return of_x, of_weight.flatten(0, -2).sum(0)


class _RMSNorm(torch.autograd.Function):
    """y = w ∘ n."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
        normal, scale = normal_forward(x, epsilon=epsilon)
        ctx.save_for_backward(normal, weight, scale)
        return normal * weight

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (upstream,) = gradients
        normal, weight, scale = ctx.saved_tensors
        found = normal_backward(upstream, normal=normal, weight=weight, scale=scale)
        return (*found, None)


def _wide(x: Tensor) -> torch.dtype:
    return torch.float64 if x.dtype == torch.float64 else torch.float32


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
