"""Heads tree by tree and token by token, one the transpose of the other."""

import pytest
import torch
from torch import Tensor

from modelserving.lm.heads import Angles, by_token, by_tree

# two trees of three places and one of four; token 5 stands in none
TOKENS = [torch.tensor([0, 1, -1, 2, 3, -1]), torch.tensor([4, 6, 7, 8])]
TREES = [2, 1]
PLACES = torch.tensor([0, 1, 3, 4, 6, 10, 7, 8, 9])
WIDTHS = [2, 8, 24, 64, 68]


def turns_of(width: int) -> Angles:
    turns = torch.randn(9, 1, width // 2)
    cos, sin = turns.cos(), turns.sin()
    return Angles(cos=torch.cat((cos, cos), -1), sin=torch.cat((-sin, sin), -1))


def made(width: int, *, is_turned: bool) -> tuple[Tensor, Angles | None]:
    torch.manual_seed(width)
    heads = torch.randn(9, 3, width)
    return heads, turns_of(width) if is_turned else None


def rotated(heads: Tensor, angles: Angles) -> Tensor:
    """By the definition: pairs (x, y) of both halves to (x cos − y sin, y cos + x sin)."""
    low, high = heads.chunk(2, dim=-1)
    cos, sin = angles.cos.chunk(2, dim=-1)[0], angles.sin.chunk(2, dim=-1)[1]
    return torch.cat((low * cos - high * sin, high * cos + low * sin), dim=-1)


@pytest.mark.parametrize("is_turned", [True, False])
@pytest.mark.parametrize("width", WIDTHS)
def test_every_head_comes_to_its_place(width: int, is_turned: bool):
    heads, angles = made(width, is_turned=is_turned)
    expected = rotated(heads, angles) if angles else heads

    for tokens, trees in zip(TOKENS, TREES, strict=True):
        found = by_tree(heads, tokens, trees=trees, angles=angles)
        assert found.shape == (trees, 3, len(tokens) // trees, width)
        for place, token in enumerate(tokens.tolist()):
            tree, at = divmod(place, len(tokens) // trees)
            there = torch.zeros(3, width) if token < 0 else expected[token]
            torch.testing.assert_close(found[tree, :, at], there)


@pytest.mark.parametrize("is_turned", [True, False])
@pytest.mark.parametrize("width", WIDTHS)
def test_the_way_back_is_the_transpose(width: int, is_turned: bool):
    heads, angles = made(width, is_turned=is_turned)
    there = [
        by_tree(heads, tokens, trees=trees, angles=angles)
        for tokens, trees in zip(TOKENS, TREES, strict=True)
    ]
    directions = [torch.randn_like(bucket) for bucket in there]

    back = by_token(directions, PLACES, angles=angles, factor=0.5)

    assert not back[5].any()
    forth = sum((a * b).sum() for a, b in zip(there, directions, strict=True))
    torch.testing.assert_close(2 * (heads * back).sum(), forth, rtol=1e-4, atol=1e-4)
