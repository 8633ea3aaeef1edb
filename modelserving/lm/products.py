"""Products of matrices in the hand-written blocks: torch's, or in whole numbers of 16 bits where that is asked for.

Dynamic fixed point (Das et al. 2018, arXiv:1802.00930): float32 numbers share a scale, up to 384 along the sum,
sums within a block are exact and results are float32. It is for CPUs that multiply such numbers about one and a half
times as fast as float32, and rounds a twentieth as much as bfloat16 does. It does not know models.

Legend: (M, K) · (K, N) = (M, N).
"""

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from modelserving.lm.native.compiling import NUMBERS, WHOLE, library
from modelserving.lm.passes import PLAIN, numbers_at

NEEDS = "they need a CPU with AVX2 and nothing wider, from Skylake or Zen 3 on, and g++"
FEWEST = 32  # lines and numbers below which laying them out takes longer than it saves

_setting = {"int16": False}


class _Side(ctypes.Structure):
    _fields_ = (("numbers", NUMBERS), ("along", WHOLE), ("across", WHOLE), ("lines", WHOLE))


class _Product(ctypes.Structure):
    _fields_ = (("a", _Side), ("b", _Side), ("base", NUMBERS), ("c", NUMBERS))


@dataclass(frozen=True)
class _Ask:
    """out = base + a · b; no base, or `out` itself. It lies apart from a and b."""

    a: Tensor
    b: Tensor
    out: Tensor
    base: Tensor | None = None


@cache
def has_int16_products() -> bool:
    """Whether they are compiled here and faster than float32's: a CPU with AVX2 and nothing wider, and a compiler."""
    compiled = library()
    return compiled is not None and bool(compiled.has_int16_products())


def multiply_in_int16(*, is_on: bool) -> None:
    """How this process multiplies float32 matrices from now on, as `torch.set_float32_matmul_precision` says for torch.

    Raises RuntimeError where there are no such products.
    """
    if is_on and not has_int16_products():
        raise RuntimeError(f"no products in int16 here: {NEEDS}")
    _setting["int16"] = is_on


def multiplies_in_int16() -> bool:
    """Whether that is set."""
    return _setting["int16"]


def product(a: Tensor, b: Tensor) -> Tensor:
    """a · b."""
    (found,) = products((a, b))
    return found


def products(*pairs: tuple[Tensor, Tensor]) -> list[Tensor]:
    """a · b of each; those that share an `a` or a `b` stand next to each other, and K is the same for all."""
    if not all(_is_int16(a, b) for a, b in pairs):
        return [a @ b for a, b in pairs]
    asks = [_Ask(a, b, out=a.new_empty(a.shape[0], b.shape[1])) for a, b in pairs]
    _multiply(asks)
    return [ask.out for ask in asks]


def linears(*asks: tuple[Tensor, Tensor, Tensor | None]) -> list[Tensor]:
    """x · Wᵀ + bias of each (x, W, bias or None); those of one x stand next to each other."""
    if not all(_is_int16(x, weight) for x, weight, _ in asks):
        return [F.linear(x, weight, bias) for x, weight, bias in asks]
    found = products(*((x, weight.t()) for x, weight, _ in asks))
    for each, (_, _, bias) in zip(found, asks, strict=True):
        if bias is not None:
            each.add_(bias)
    return found


def added(base: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """base + a · b, all of it new."""
    if not _is_int16(a, b, base):
        return torch.addmm(base, a, b)
    found = a.new_empty(a.shape[0], b.shape[1])
    _multiply([_Ask(a, b, out=found, base=base.contiguous())])
    return found


def add_(total: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """total += a · b."""
    if not (_is_int16(a, b, total) and total.is_contiguous()):
        return total.addmm_(a, b)
    _multiply([_Ask(a, b, out=total, base=total)])
    return total


def through(linear: nn.Module, x: Tensor) -> Tensor:
    """What a linear layer makes of x (M, K), with gradients."""
    is_plain = type(linear) is nn.Linear and linear.bias is None and x.dim() == 2
    if not is_plain or not _is_int16(x, linear.weight.t()):
        found: Tensor = linear(x)
        return found
    result: Tensor = _Through.apply(x, linear.weight)
    return result


class _Through(torch.autograd.Function):
    """x · Wᵀ."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return product(x, weight.t())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None]:
        (upstream,) = gradients
        x, weight = ctx.saved_tensors
        of_x, of_weight = ctx.needs_input_grad
        return (
            product(upstream, weight) if of_x else None,
            product(upstream.t(), x) if of_weight else None,
        )


def _is_int16(*matrices: Tensor) -> bool:
    """Whether these float32 matrices on the CPU are multiplied so: as is set, and large enough."""
    if not _setting["int16"]:
        return False
    return all(
        type(each) in PLAIN
        and each.dtype == torch.float32
        and each.device.type == "cpu"
        and each.dim() == 2
        and min(each.shape) >= FEWEST
        for each in matrices
    )


def _multiply(asks: Sequence[_Ask]) -> None:
    """Raises ValueError if shapes do not fit."""
    sides = [each for ask in asks for each in (ask.a, ask.b)]
    has_graph = torch.is_grad_enabled() and any(each.requires_grad for each in sides)
    assert not has_graph, "no gradient would come back: multiply inside an autograd.Function"
    kept: list[Tensor] = []  # copies, as long as they are read
    read = (_Product * len(asks))(*(_as_read(ask, kept=kept) for ask in asks))
    (K,) = {ask.a.shape[1] for ask in asks}
    compiled = library()
    assert compiled is not None, "asked when it was set"
    failed = compiled.int16_products(read, WHOLE(len(asks)), WHOLE(K), torch.get_num_threads())
    if failed:
        raise MemoryError("not enough memory for products in int16")


def _as_read(ask: _Ask, *, kept: list[Tensor]) -> _Product:
    """What the compiled code reads; it points at these tensors."""
    (M, K), (behind, N) = ask.a.shape, ask.b.shape
    if behind != K or any(each.shape != (M, N) for each in (ask.out, ask.base) if each is not None):
        raise ValueError(f"{(M, K)} · {(behind, N)} does not fit {tuple(ask.out.shape)}")
    a, b = (each if 1 in each.stride() else each.contiguous() for each in (ask.a, ask.b))
    kept += [a, b]
    return _Product(
        a=_Side(a.data_ptr(), a.stride(1), a.stride(0), M),
        b=_Side(b.data_ptr(), b.stride(0), b.stride(1), N),
        base=numbers_at(ask.base),
        c=numbers_at(ask.out),
    )
