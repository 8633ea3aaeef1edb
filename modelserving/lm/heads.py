"""Heads between two orders: token by token, as products give and take them, and tree by tree, as attention multiplies them.

Turned by their positions on the way. It does not know what attention computes.

Legend: T tokens, H heads, G key heads, D head size; B trees of a bucket, M places of each.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from modelserving.lm.one_kernel import one_kernel


@dataclass(frozen=True, kw_only=True)
class Angles:
    """Rotary position embedding (Su et al. 2021) of some tokens: (T, 1, D) each."""

    cos: Tensor
    sin: Tensor  # negative in the first half, as the swapped halves enter

    def turned(self, heads: Tensor) -> Tensor:
        """(T, H, D) rotated."""
        return _turned(heads, self.cos, self.sin)

    def turned_back(self, heads: Tensor) -> Tensor:
        """The transpose of the rotation."""
        return _turned_back(heads, self.cos, self.sin)


@one_kernel
def _turned(heads: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    return torch.addcmul(heads * cos, heads.roll(cos.shape[-1] // 2, -1), sin)


@one_kernel
def _turned_back(heads: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    return torch.addcmul(heads * cos, heads.roll(cos.shape[-1] // 2, -1), sin, value=-1)


Rotations = tuple[Angles, Angles]  # of queries (Q, 1, D) and of keys (T, 1, D)


@dataclass(frozen=True, kw_only=True)
class TokenHeads:
    """What a layer's first product gives of tokens: queries, keys and values side by side, not turned yet."""

    together: Tensor  # (T, H + 2G, D)
    queries: int  # H
    keys: int  # G
    angles: Angles

    @property
    def query(self) -> Tensor:
        """(T, H, D)."""
        return self.together[:, : self.queries]

    @property
    def turned_key(self) -> Tensor:
        """(T, G, D)."""
        return self.angles.turned(self.together[:, self.queries : self.queries + self.keys])

    @property
    def value(self) -> Tensor:
        """(T, G, D)."""
        return self.together[:, self.queries + self.keys :]

    def turned(self) -> tuple[Tensor, Tensor, Tensor]:
        """Queries (T, H, D), keys and values (T, G, D)."""
        turned = self.angles.turned(self.together[:, : self.queries + self.keys])
        return turned[:, : self.queries], turned[:, self.queries :], self.value


def by_tree(heads: Tensor, tokens: Tensor, *, trees: int, angles: Angles | None = None) -> Tensor:
    """heads (T, H, D) at the token of each place (B·M,), turned; zeros where that is negative: (B, H, M, D)."""
    if not len(heads):
        return heads.new_zeros(trees, heads.shape[1], len(tokens) // trees, heads.shape[2])
    turned = heads if angles is None else angles.turned(heads)
    rows = turned.index_select(0, tokens.clamp(min=0))
    rows.index_fill_(0, (tokens < 0).nonzero()[:, 0], 0)
    return rows.unflatten(0, (trees, -1)).transpose(1, 2).contiguous()


def by_token(
    buckets: Sequence[Tensor], places: Tensor, *, angles: Angles | None = None, factor: float = 1.0
) -> Tensor:
    """The transpose: buckets (B, H, M, D) behind each other, read at each token's place (T,) times a factor: (T, H, D).

    A place behind the last gives zeros.
    """
    rows = [bucket.transpose(1, 2).flatten(0, 1) for bucket in buckets]
    nothing = rows[0].new_zeros(1, *rows[0].shape[1:])
    heads = torch.cat([*rows, nothing]).index_select(0, places).mul_(factor)
    return heads if angles is None else angles.turned_back(heads)
