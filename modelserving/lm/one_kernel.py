"""Chains of element-wise operations as one kernel on a GPU: torch.compile where Triton can compile, the operations themselves elsewhere.

It does not know what they compute.
"""

import importlib.util
import shutil
from collections.abc import Callable
from functools import cache, wraps
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor

Given = ParamSpec("Given")
Result = TypeVar("Result")


def one_kernel(function: Callable[Given, Result]) -> Callable[Given, Result]:
    """`function`, whose first argument is a tensor, compiled into as few kernels as can be where that lies on a GPU.

    Where gradients are recorded through it, it is left as it is.
    """

    @wraps(function)
    def called(*arguments: Given.args, **named: Given.kwargs) -> Result:
        first = arguments[0]
        assert isinstance(first, Tensor)
        if not first.is_cuda or torch.is_grad_enabled() or not can_compile():
            return function(*arguments, **named)
        # a tensor that wants gradients would be compiled for anew
        plain: Any = [_detached(each) for each in arguments]
        others: Any = {name: _detached(each) for name, each in named.items()}
        return _compiled(function)(*plain, **others)

    return called


def _detached(given: object) -> object:
    return given.detach() if isinstance(given, Tensor) else given


@cache
def can_compile() -> bool:
    """Whether there is all that torch.compile needs for a GPU: Triton, and a C compiler for its launchers."""
    has_compiler = any(shutil.which(name) for name in ("cc", "gcc", "clang"))
    return has_compiler and importlib.util.find_spec("triton") is not None


@cache
def _compiled(function: Callable[Given, Result]) -> Callable[Given, Result]:
    return torch.compile(function)
