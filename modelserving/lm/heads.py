"""Heads between two orders: token by token, as products give and take them, and tree by tree, as attention multiplies them.

Turned by their positions on the way, in one pass where there is a compiler. It does not know what attention computes.

Legend: T tokens, H heads, D head size; B trees of a bucket, M places of each.
"""

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from modelserving.lm.native.compiling import REAL, WHOLE
from modelserving.lm.passes import compiled_for, kind_of, numbers_at


@dataclass(frozen=True, kw_only=True)
class Angles:
    """Rotary position embedding (Su et al. 2021) of some tokens: (T, 1, D) each."""

    cos: Tensor
    sin: Tensor  # negative in the first half, as the swapped halves enter

    def turned(self, heads: Tensor) -> Tensor:
        """(T, H, D) rotated."""
        return torch.addcmul(heads * self.cos, heads.roll(self.cos.shape[-1] // 2, -1), self.sin)

    def turned_back(self, heads: Tensor) -> Tensor:
        """The transpose of the rotation."""
        swapped = heads.roll(self.cos.shape[-1] // 2, -1)
        return torch.addcmul(heads * self.cos, swapped, self.sin, value=-1)


def by_tree(heads: Tensor, tokens: Tensor, *, trees: int, angles: Angles | None = None) -> Tensor:
    """heads (T, H, D) at the token of each place (B·M,), turned; zeros where that is negative: (B, H, M, D)."""
    compiled = compiled_for(heads, *_tables(angles))
    if compiled is None:
        turned = heads if angles is None else angles.turned(heads)
        rows = turned.index_select(0, tokens.clamp(min=0))
        rows.index_fill_(0, (tokens < 0).nonzero()[:, 0], 0)
        return rows.unflatten(0, (trees, -1)).transpose(1, 2).contiguous()
    heads = heads.contiguous()
    _, H, D = heads.shape
    places = len(tokens) // trees
    found = heads.new_empty(trees, H, places, D)
    compiled.heads_by_tree(
        kind_of(heads),
        numbers_at(heads),
        numbers_at(tokens, torch.long),
        *map(numbers_at, _tables(angles)),
        WHOLE(trees),
        WHOLE(places),
        WHOLE(H),
        WHOLE(D),
        numbers_at(found),
        torch.get_num_threads(),
    )
    return found


def by_token(
    buckets: Sequence[Tensor], places: Tensor, *, angles: Angles | None = None, factor: float = 1.0
) -> Tensor:
    """The transpose: buckets (B, H, M, D) behind each other, read at each token's place (T,) times a factor: (T, H, D).

    A place behind the last gives zeros.
    """
    compiled = compiled_for(*buckets, *_tables(angles))
    _, H, _, D = buckets[0].shape
    if compiled is None:
        rows = [bucket.transpose(1, 2).flatten(0, 1) for bucket in buckets]
        nothing = rows[0].new_zeros(1, H, D)
        heads = torch.cat([*rows, nothing]).index_select(0, places).mul_(factor)
        return heads if angles is None else angles.turned_back(heads)
    lying = [bucket.contiguous() for bucket in buckets]
    widths = [bucket.shape[2] for bucket in lying]
    ends, end = [], 0
    for bucket in lying:
        end += bucket.shape[0] * bucket.shape[2]
        ends.append(end)
    T, count = len(places), len(lying)
    found = lying[0].new_empty(T, H, D)
    compiled.heads_by_token(
        kind_of(found),
        (ctypes.c_void_p * count)(*(bucket.data_ptr() for bucket in lying)),
        (WHOLE * count)(*widths),
        (WHOLE * count)(*ends),
        WHOLE(count),
        numbers_at(places, torch.long),
        *map(numbers_at, _tables(angles)),
        WHOLE(T),
        WHOLE(H),
        WHOLE(D),
        REAL(factor),
        numbers_at(found),
        torch.get_num_threads(),
    )
    return found


def _tables(angles: Angles | None) -> tuple[Tensor | None, Tensor | None]:
    return (None, None) if angles is None else (angles.cos, angles.sin)
