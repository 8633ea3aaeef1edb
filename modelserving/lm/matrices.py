"""The matrices of a model, laid out for products that a processor does fast.

oneDNN's layout where there is one: faster with few rows, and the bits of a row of a product depend on
that row alone. Does not know layers or models. Legend: N rows, I inputs, O outputs.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_ONEDNN: Any = torch.ops.mkldnn
_BACKEND: Any = torch.backends.mkldnn


class Matrix(Protocol):
    """Linear layers side by side, and what comes right after them in a block."""

    def __call__(self, x: Tensor) -> Tensor:
        """x (N, I) → (N, O)."""
        ...

    def added_to(self, other: Tensor, x: Tensor) -> Tensor:
        """The product plus `other` (N, O)."""
        ...

    def silu(self, x: Tensor) -> Tensor:
        """The product through SiLU."""
        ...

    def times(self, other: Tensor, x: Tensor) -> Tensor:
        """The product times `other` (N, O), number by number."""
        ...


def matrix_of(linears: Sequence[nn.Linear], *, takes_over: bool) -> Matrix:
    """Lay linear layers out side by side; with `takes_over` their own weights are emptied."""
    weight = torch.cat([linear.weight for linear in linears]) if linears[1:] else linears[0].weight
    bias = None
    if linears[0].bias is not None:
        bias = torch.cat([linear.bias for linear in linears])
    found = _OneDnn(weight, bias) if can_lay_out(weight) else _Transposed(weight, bias)
    if takes_over:
        for linear in linears:
            linear.weight.data = linear.weight.new_empty(0)
    return found


def can_lay_out(weight: Tensor) -> bool:
    """Whether oneDNN multiplies by such a matrix."""
    is_there = bool(_BACKEND.is_available() and hasattr(_ONEDNN, "_linear_pointwise"))
    return is_there and weight.device.type == "cpu" and weight.dtype == torch.float32


class _OneDnn:
    """A matrix in oneDNN's own layout."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        """weight (O, I), bias (O,)."""
        self._weight = _ONEDNN._reorder_linear_weight(weight.detach(), 16)  # noqa: SLF001
        self._bias = bias

    def __call__(self, x: Tensor) -> Tensor:
        found: Tensor = _ONEDNN._linear_pointwise(x, self._weight, self._bias, "none", [], "")  # noqa: SLF001
        return found

    def added_to(self, other: Tensor, x: Tensor) -> Tensor:
        return self._with(other, x, "add")

    def silu(self, x: Tensor) -> Tensor:
        found: Tensor = _ONEDNN._linear_pointwise(x, self._weight, self._bias, "swish", [], "")  # noqa: SLF001
        return found

    def times(self, other: Tensor, x: Tensor) -> Tensor:
        return self._with(other, x, "mul")

    def _with(self, other: Tensor, x: Tensor, operation: str) -> Tensor:
        product = _ONEDNN._linear_pointwise.binary  # noqa: SLF001
        found: Tensor = product(x, other, self._weight, self._bias, operation)
        return found


class _Transposed:
    """A matrix as (I, O): products with few rows read it faster so."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        """weight (O, I), bias (O,)."""
        self._weight = weight.detach().t().contiguous()
        self._bias = bias

    def __call__(self, x: Tensor) -> Tensor:
        product = x @ self._weight
        return product if self._bias is None else product + self._bias

    def added_to(self, other: Tensor, x: Tensor) -> Tensor:
        product = torch.addmm(other, x, self._weight)
        return product if self._bias is None else product + self._bias

    def silu(self, x: Tensor) -> Tensor:
        return F.silu(self(x))

    def times(self, other: Tensor, x: Tensor) -> Tensor:
        return self(x) * other
