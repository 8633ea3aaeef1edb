"""Gradients of rows that are read side by side.

It does not know models or losses. The bits are those of one run to the next: each thread sums the gradients of its own
rows in order, and the sums are added in order.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from modelserving.lm.threads import in_threads

Item = TypeVar("Item")
Found = TypeVar("Found")
Gradients = list[Tensor | None]


def add_gradients(
    work: Callable[[Item], tuple[Tensor, Found]],
    items: Sequence[Item],
    *,
    parameters: Sequence[Tensor],
    threads: int,
) -> list[Found]:
    """Add the gradient of each item's loss to the parameters; `work` gives the loss, and what is kept of it."""
    if threads == 1 or len(items) < 2:
        found = []
        for item in items:
            loss, kept = work(item)
            loss.backward()
            found.append(kept)
        return found
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    dtypes = [parameter.grad_dtype for parameter in trained]  # what they are summed in

    def share(own: range) -> tuple[Gradients, list[Found]]:
        sums: Gradients = [None] * len(trained)
        kept = []
        for index in own:
            loss, result = work(items[index])
            found = torch.autograd.grad(loss, trained, allow_unused=True)
            sums = [_sum(*each) for each in zip(sums, found, dtypes, strict=True)]
            kept.append(result)
        return sums, kept

    shares = [range(start, len(items), threads) for start in range(min(threads, len(items)))]
    done = in_threads(share, shares, threads=threads)
    for gradients, _ in done:
        for parameter, gradient, dtype in zip(trained, gradients, dtypes, strict=True):
            parameter.grad = _sum(parameter.grad, gradient, dtype)
    return [done[index % len(shares)][1][index // len(shares)] for index in range(len(items))]


def _sum(left: Tensor | None, right: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    if right is None:
        return left
    return right.to(dtype) if left is None else left.add_(right)
