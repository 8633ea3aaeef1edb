"""Packed rows side by side, one thread each: small operations divide badly among threads, rows divide well.

It does not know models beyond whether the hand-written blocks read them, nor losses. The bits are those of one run to
the next: each thread sums the gradients of its own rows in order, and the sums are added in order.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

import torch
from torch import Tensor, nn

from modelserving.lm.packed_llama import fits

MOST_THREADS = 8  # Python itself runs in one at a time
Item = TypeVar("Item")
Found = TypeVar("Found")
Gradients = list[Tensor | None]


def threads_for(model: nn.Module) -> int:
    """How many rows of this model are read side by side: one on a GPU, and by transformers' own forward."""
    if not fits(model.base_model):
        return 1
    return min(MOST_THREADS, torch.get_num_threads())


def in_threads(
    work: Callable[[Item], Found], items: Sequence[Item], *, threads: int
) -> list[Found]:
    """What `work` finds of every item, in order; within a thread its operations are not divided."""
    if threads == 1 or len(items) < 2:
        return [work(item) for item in items]
    grad, allowed = torch.is_grad_enabled(), torch.get_num_threads()

    def alone(item: Item) -> Found:
        torch.set_num_threads(1)
        with torch.set_grad_enabled(grad):
            return work(item)

    try:
        return list(_pool(threads).map(alone, items))
    finally:
        torch.set_num_threads(allowed)  # some libraries keep one number for all threads


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

    def share(own: range) -> tuple[Gradients, list[Found]]:
        sums: Gradients = [None] * len(trained)
        kept = []
        for index in own:
            loss, result = work(items[index])
            found = torch.autograd.grad(loss, trained, allow_unused=True)
            sums = [_sum(left, right) for left, right in zip(sums, found, strict=True)]
            kept.append(result)
        return sums, kept

    shares = [range(start, len(items), threads) for start in range(min(threads, len(items)))]
    done = in_threads(share, shares, threads=threads)
    for gradients, _ in done:
        for parameter, gradient in zip(trained, gradients, strict=True):
            parameter.grad = _sum(parameter.grad, gradient)
    return [done[index % len(shares)][1][index // len(shares)] for index in range(len(items))]


def _sum(left: Tensor | None, right: Tensor | None) -> Tensor | None:
    if left is None or right is None:
        return right if left is None else left
    return left.add_(right)


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads)
