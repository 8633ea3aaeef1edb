"""Attention within trees, compiled and by torch's operations, against its definition in float64."""

import random
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from modelserving.lm import passes
from modelserving.lm.attention import PackedRow, pack
from modelserving.lm.heads import Angles
from modelserving.lm.native.compiling import library
from modelserving.lm.tree_attention import attend, attend_backward
from modelserving.lm.tree_plan import TreePlan
from modelserving.lm.tree_visibility import Visibility

SCALE = 0.3


def words(count: int, *, seed: int) -> list[int]:
    rng = random.Random(seed)
    return [rng.randrange(1000) for _ in range(count)]


PROMPT = words(70, seed=0)
# two trees nobody need ask in, first and last; a prompt with three branches, longer than a block of queries; a chain
GROUPS = [
    [[1, 2], [1, 9, 9]],
    [[*PROMPT, *words(60, seed=1)], [*PROMPT, *words(33, seed=2)], [*PROMPT, 7]],
    [[3]],
    [words(49, seed=3)],
    [[4, 5, 6], [4, 8]],
]


@pytest.fixture(params=["compiled", "torch"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "torch":
        monkeypatch.setattr(passes, "library", lambda: None)
    else:
        assert library() is not None, "the compiled way needs g++"


@dataclass
class Case:
    heads: tuple[Tensor, Tensor, Tensor]
    turns: tuple[Angles, Angles] | None
    plan: TreePlan
    upstream: Tensor

    def run(self, dtype: torch.dtype = torch.float32) -> tuple[Tensor, ...]:
        """The result and the gradients of query, key and value."""
        turns = self.turns and tuple(
            Angles(cos=each.cos.to(dtype), sin=each.sin.to(dtype)) for each in self.turns
        )
        heads = (each.to(dtype) for each in self.heads)
        result, seen = attend(*heads, plan=self.plan, scale=SCALE, turns=turns)
        found = attend_backward(
            self.upstream.to(dtype), seen, plan=self.plan, scale=SCALE, turns=turns
        )
        return (result, *found)


def row_with_tail() -> PackedRow:
    """The trees, and behind them five tokens that belong to none."""
    row = pack(GROUPS)
    behind = torch.arange(len(row.tokens), len(row.tokens) + 5)
    return PackedRow(
        tokens=torch.cat((row.tokens, 0 * behind)),
        positions=torch.cat((row.positions, 0 * behind)),
        subtree_end=torch.cat((row.subtree_end, behind + 1)),
        tree_starts=row.tree_starts,
        paths=row.paths,
    )


def made(
    *,
    heads: int = 4,
    key_heads: int = 2,
    width: int = 24,
    window: int | None = None,
    asked: Tensor | None = None,
    is_turned: bool = True,
) -> Case:
    torch.manual_seed(0)
    row = row_with_tail()
    T = len(row.tokens)
    Q = T if asked is None else len(asked)
    query, upstream = torch.randn(Q, heads, width), torch.randn(Q, heads, width)
    key, value = torch.randn(T, key_heads, width), torch.randn(T, key_heads, width)
    turns = None
    if is_turned:
        angle = torch.randn(T, 1, width // 2)
        cos, sin = torch.cat((angle.cos(),) * 2, -1), torch.cat((-angle.sin(), angle.sin()), -1)
        keys = Angles(cos=cos, sin=sin)
        turns = (keys if asked is None else Angles(cos=cos[asked], sin=sin[asked]), keys)
    rule = Visibility(subtree_end=row.subtree_end, positions=row.positions, window=window)
    plan = TreePlan(starts=row.tree_starts, visibility=rule, queries=asked)
    return Case(heads=(query, key, value), turns=turns, plan=plan, upstream=upstream)


def by_definition(case: Case) -> tuple[Tensor, ...]:
    """softmax over what each query may see, in float64, with autograd's gradients; zeros outside trees."""
    query, key, value = (each.double().requires_grad_() for each in case.heads)
    q, k = query, key
    if case.turns is not None:
        of_queries, of_keys = case.turns
        q, k = of_queries.turned(query), of_keys.turned(key)
    at = torch.arange(len(key)) if case.plan.queries is None else case.plan.queries
    may = case.plan.visibility.allowed(query=at[:, None], key=torch.arange(len(key))[None])
    k, v = (each.repeat_interleave(query.shape[1] // key.shape[1], dim=1) for each in (k, value))
    scores = torch.einsum("qhd,khd->hqk", q, k) * SCALE
    weights = scores.masked_fill(~may, float("-inf")).softmax(-1)
    result = torch.einsum("hqk,khd->qhd", weights, v)
    result = result * (at < case.plan.starts[-1])[:, None, None]
    found = torch.autograd.grad((result * case.upstream.double()).sum(), (query, key, value))
    return (result.detach(), *found)


# the second tree's and the fourth's tokens out of order, one of them twice; nobody asks in the others
ASKED = torch.tensor([94, 16, 16, 7, 174, 204, 169])
CASES = {
    "plain": {},
    "as many key heads": {"key_heads": 4},
    "one key head": {"key_heads": 1, "width": 64},
    "odd widths": {"width": 6},
    "wide": {"heads": 2, "width": 136},
    "not turned": {"is_turned": False, "width": 40},
    "window": {"window": 20},
    "asked": {"asked": ASKED},
    "asked in a window": {"asked": ASKED, "window": 7},
    "nobody asked": {"asked": ASKED[:0]},
}


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_results_and_gradients_are_those_of_the_definition(case: dict):
    made_case = made(**case)
    for found, exact in zip(made_case.run(), by_definition(made_case), strict=True):
        assert (found - exact).norm() <= 2e-6 * exact.norm()


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("window", [20, None])
def test_large_values_out_of_sight_or_without_weight_cost_no_precision(window: int | None):
    case = made(window=window)
    key, value = case.heads[1:]
    first = int(case.plan.starts[1])
    key[first] = -30.0 * case.heads[0][first + 50].mean(0)
    value[first] *= 1e5

    exact = by_definition(case)
    found = case.run()

    at = first + 50  # far from the first key of its tree
    for ours, truth in zip(found[:2], exact[:2], strict=True):
        assert (ours[at] - truth[at]).norm() <= 1e-4 * truth[at].norm()


def test_bfloat16_is_rounded_once(monkeypatch: pytest.MonkeyPatch):
    case = made(width=64)
    case.heads = tuple(each.bfloat16() for each in case.heads)
    case.turns = tuple(
        Angles(cos=each.cos.bfloat16(), sin=each.sin.bfloat16()) for each in case.turns
    )
    case.upstream = case.upstream.bfloat16()
    exact = by_definition(case)
    ours = case.run(torch.bfloat16)
    monkeypatch.setattr(passes, "library", lambda: None)
    torchs = case.run(torch.bfloat16)

    for found, other, truth in zip(ours, torchs, exact, strict=True):
        assert found.dtype == torch.bfloat16
        assert (found - truth).norm() <= 2**-8 * truth.norm()
        assert (found - truth).norm() < (other - truth).norm()


def test_threads_change_no_bit():
    case, before = made(), torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = case.run()
        torch.set_num_threads(3)
        together = case.run()
    finally:
        torch.set_num_threads(before)

    assert all(map(torch.equal, alone, together))


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_what_is_not_finite_stays_so(number: float):
    case = made()
    case.heads[0][10, 1, 0] = number

    result, of_query, of_key, of_value = case.run()

    assert not result[10, 1].isfinite().any()
    assert not of_query[10, 1].isfinite().any()
    assert not of_key[:11, 0].isfinite().all()
    assert not of_value[:11, 0].isfinite().all()
    assert result[170].isfinite().all()  # of another tree


def test_what_does_not_fit_together_is_refused():
    case = made()
    query, key, value = case.heads
    for heads in (
        (query, key, value[:, :, :8]),
        (query, key[:9], value[:9]),
        (query[:, :3], key, value),
    ):
        with pytest.raises(ValueError, match="queries, keys and values"):
            attend(*heads, plan=case.plan, scale=SCALE)
    _, seen = attend(query, key, value, plan=case.plan, scale=SCALE)
    with pytest.raises(ValueError, match="gradient"):
        attend_backward(case.upstream[:9], seen, plan=case.plan, scale=SCALE)
    with pytest.raises(TypeError, match="bfloat16"):
        attend_backward(case.upstream.bfloat16(), seen, plan=case.plan, scale=SCALE)


def test_given_types_of_one_kind_alone():
    case = made()
    query, key, value = case.heads
    with pytest.raises(RuntimeError, match=r"dtype|same type|scalar type"):
        attend(query, key.bfloat16(), value, plan=case.plan, scale=SCALE)
