"""Attention of a packed row by the flash kernels that PyTorch brings for GPUs (Dao 2023, arXiv:2307.08691).

It does not know trees: runs say which queries are multiplied with which keys. It calls what lies below PyTorch's
`varlen_attn`, whose backward pass cannot be called by hand.

Legend: Q queries, T tokens of the row, H heads, G key heads, D head size.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from modelserving.lm.heads import Rotations
from modelserving.lm.tree_runs import TreeRuns

KERNELS: Any = torch.ops.aten
NUMBERS = (torch.bfloat16, torch.float16)  # that the kernels know
WIDEST, STEP = 256, 8  # head sizes that they know
AMPERE = (8, 0)  # the first GPUs that they run on
BACKWARD = (0.0, True)  # no dropout; causal
FORWARD = (*BACKWARD, False)  # no mask to look at


def suits(heads: Tensor) -> bool:
    """Whether the kernels know such heads (…, D)."""
    width = heads.shape[-1]
    if not heads.is_cuda or heads.dtype not in NUMBERS or width > WIDEST or width % STEP:
        return False
    return torch.cuda.get_device_capability(heads.device) >= AMPERE


def forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    runs: TreeRuns,
    scale: float,
    turns: Rotations | None,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """query (Q, H, D), key and value (T, G, D) → (Q, H, D), and what the backward pass needs."""
    if turns is not None:
        query, key = turns[0].turned(query), turns[1].turned(key)
    query = runs.in_order(query)
    results, sums, *state = KERNELS._flash_attention_forward(  # noqa: SLF001 -- see above
        query, runs.of_keys(key), runs.of_keys(value), *_bounds(runs), *FORWARD,
        **_options(runs, scale=scale),
    )  # fmt: skip
    return runs.as_they_came(results), (query, key, value, results, sums, *state[:2])


def backward(
    upstream: Tensor,
    seen: Sequence[Tensor],
    *,
    runs: TreeRuns,
    scale: float,
    turns: Rotations | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of query (Q, H, D), key and value (T, G, D) from that of the result (Q, H, D)."""
    query, key, value, results, sums, *state = seen
    upstream = runs.in_order(upstream.contiguous())
    found = KERNELS._flash_attention_backward(  # noqa: SLF001 -- see above
        upstream, query, runs.of_keys(key), runs.of_keys(value), results, sums, *_bounds(runs),
        *BACKWARD, *state, **_options(runs, scale=scale),
    )  # fmt: skip
    of_query = runs.as_they_came(found[0])
    of_key, of_value = (runs.summed(each) for each in found[1:])
    if turns is not None:
        of_query, of_key = turns[0].turned_back(of_query), turns[1].turned_back(of_key)
    return of_query, of_key, of_value


def _bounds(runs: TreeRuns) -> tuple[Any, ...]:
    """Where runs begin, and bounds of their lengths: two queries at least, as one goes a way of its own, for inference."""
    queries, keys = runs.longest
    return (runs.query_starts, runs.key_starts, max(2, queries), keys)


def _options(runs: TreeRuns, *, scale: float) -> dict[str, Any]:
    """A run's last query sees its last key, so that causal means: as far as the path before each query."""
    left = None if runs.window is None else runs.window - 1
    return {"scale": scale, "window_size_left": left}
