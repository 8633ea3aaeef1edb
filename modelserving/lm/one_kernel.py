"""Chains of element-wise operations as one kernel on a GPU: torch.compile where Triton can compile, the operations themselves elsewhere.

It does not know what they compute.
"""

import importlib.util
import shutil
import sysconfig
from collections.abc import Callable
from functools import cache, wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor

Given = ParamSpec("Given")
Result = TypeVar("Result")
VOLTA = (7, 0)  # the first GPUs that Triton compiles for


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
    """Whether there is all that torch.compile needs: Triton and a GPU for it, a C compiler and Python's headers for its launchers."""
    has_compiler = any(shutil.which(name) for name in ("cc", "gcc", "clang"))
    has_headers = Path(sysconfig.get_path("include"), "Python.h").exists()
    if not has_compiler or not has_headers or importlib.util.find_spec("triton") is None:
        return False
    return torch.cuda.get_device_capability() >= VOLTA


@cache
def _compiled(function: Callable[Given, Result]) -> Callable[Given, Result]:
    return torch.compile(function)
