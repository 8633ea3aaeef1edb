"""Packed rows side by side, one thread each: small operations divide badly among threads, rows divide well.

It does not know models beyond whether the hand-written blocks read them.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

import torch
from torch import nn

from modelserving.lm.packed_llama import fits

MOST_THREADS = 8  # Python itself runs in one at a time
Item = TypeVar("Item")
Found = TypeVar("Found")


def threads_for(model: nn.Module) -> int:
    """How many rows of this model are read side by side: one on a GPU, and by transformers' own forward."""
    if next(model.parameters()).device.type != "cpu" or not fits(model.base_model):
        return 1
    return min(MOST_THREADS, torch.get_num_threads())


def in_threads(
    work: Callable[[Item], Found], items: Sequence[Item], *, threads: int
) -> list[Found]:
    """What `work` finds of every item, in order; within a thread its operations are not divided."""
    if threads == 1 or len(items) < 2:
        return [work(item) for item in items]
    grad, inference = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
    allowed = torch.get_num_threads()

    def alone(item: Item) -> Found:
        torch.set_num_threads(1)
        with torch.inference_mode(inference), torch.set_grad_enabled(grad):
            return work(item)

    try:
        return list(_pool(threads).map(alone, items))
    finally:
        torch.set_num_threads(allowed)  # some libraries keep one number for all threads


def balanced_bins(lengths: Sequence[int], *, count: int) -> list[list[int]]:
    """Split items into `count` bins of like total length, longest first into the emptiest."""
    rows: list[list[int]] = [[] for _ in range(count)]
    filled = [0] * count
    for index in sorted(range(len(lengths)), key=lambda each: (-lengths[each], each)):
        emptiest = min(range(count), key=lambda row: (filled[row], row))
        rows[emptiest].append(index)
        filled[emptiest] += lengths[index]
    return [sorted(row) for row in rows]


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads)
