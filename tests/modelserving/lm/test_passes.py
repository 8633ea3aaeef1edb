"""The compiled passes against torch's operations, and both against autograd."""

import math
from collections.abc import Callable, Sequence

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from modelserving.lm import passes
from modelserving.lm.native.compiling import library

KINDS = [torch.float32, torch.bfloat16]
SIZES = [1, 7, 16, 43, 256]  # fewer numbers than lanes, whole lanes, and some left over


@pytest.fixture
def without_library(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable], object]:
    """Run something by torch's operations."""

    def run(work: Callable[[], object]) -> object:
        with monkeypatch.context() as patched:
            patched.setattr(passes, "library", lambda: None)
            return work()

    return run


def made(*shape: int, dtype: torch.dtype, scale: float = 1.0) -> Tensor:
    return (scale * torch.randn(*shape)).to(dtype)


def check(compute: Callable, inputs: Sequence[Tensor], *, without_library: Callable) -> None:
    """Compiled numbers are those of torch's operations in float32, and no worse than them in bfloat16."""
    ours, theirs = compute(*inputs), without_library(lambda: compute(*inputs))
    exact = without_library(lambda: compute(*(each.float() for each in inputs)))
    for mine, other, truth in zip(ours, theirs, exact, strict=True):
        assert mine.dtype == other.dtype
        bound = 2e-6 * truth.norm() + 1e-6 * len(truth)
        if inputs[0].dtype == torch.bfloat16:
            bound += 1.05 * (other.float() - truth).norm()
        assert (mine.float() - truth).norm() <= bound


def test_a_compiler_is_there():
    assert library() is not None, "the comparisons below need g++: apt-get install g++"


@pytest.mark.parametrize("dtype", KINDS)
@pytest.mark.parametrize("size", SIZES)
def test_the_norm_is_that_of_torch(size: int, dtype: torch.dtype, without_library: Callable):
    torch.manual_seed(size)
    rows = [made(300, size, dtype=dtype) for _ in range(3)]

    def both(x: Tensor, upstream: Tensor, carried: Tensor, weight: Tensor) -> tuple[Tensor, ...]:
        found, scale = passes.norm(x, weight, epsilon=1e-5)
        of_x, of_weight = passes.norm_backward(
            upstream, x=x, weight=weight, scale=scale, carried=carried
        )
        alone, _ = passes.norm_backward(upstream, x=x, weight=weight, scale=scale)
        return found, scale, of_x, of_weight, alone

    check(both, [*rows, made(size, dtype=dtype)], without_library=without_library)


@pytest.mark.parametrize("dtype", KINDS)
@pytest.mark.parametrize("size", SIZES)
def test_the_gate_is_that_of_torch(size: int, dtype: torch.dtype, without_library: Callable):
    torch.manual_seed(size)
    rows = [made(5, size, dtype=dtype, scale=3) for _ in range(3)]

    def both(gate: Tensor, up: Tensor, upstream: Tensor) -> tuple[Tensor, ...]:
        return passes.gated(gate, up), *passes.gated_backward(upstream, gate=gate, up=up)

    check(both, rows, without_library=without_library)


@pytest.mark.parametrize("dtype", KINDS)
@pytest.mark.parametrize("size", [*SIZES, 1000])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_log_probabilities_are_those_of_torch(
    size: int, dtype: torch.dtype, temperature: float, without_library: Callable
):
    torch.manual_seed(size)
    logits = made(70, size, dtype=dtype, scale=5)
    tokens = torch.randint(0, size, (70,))
    upstream = torch.randn(70)

    def all_three(logits: Tensor) -> tuple[Tensor, ...]:
        logprobs, sums = passes.chosen(logits, tokens, temperature=temperature)
        of_logits = passes.chosen_backward(
            upstream, logits=logits, tokens=tokens, sums=sums, temperature=temperature
        )
        return logprobs, passes.entropies(logits, sums, temperature=temperature), of_logits

    check(all_three, [logits], without_library=without_library)
    found = all_three(logits)
    exact = F.log_softmax(logits.double() / temperature, dim=-1)
    torch.testing.assert_close(
        found[0].double(), exact.gather(1, tokens[:, None])[:, 0], rtol=1e-5, atol=1e-5
    )
    torch.testing.assert_close(
        found[1].double(), -(exact.exp() * exact).sum(-1), rtol=1e-4, atol=1e-4
    )


def test_a_token_that_is_all_but_impossible_has_a_finite_log_probability():
    logits = torch.tensor([[0.0, -500.0, 3.0]])
    logprobs, sums = passes.chosen(logits, torch.tensor([1]), temperature=1.0)
    gradient = passes.chosen_backward(
        torch.ones(1), logits=logits, tokens=torch.tensor([1]), sums=sums, temperature=1.0
    )

    assert logprobs.item() == pytest.approx(-500 - math.log(math.exp(3) + 1), rel=1e-6)
    torch.testing.assert_close(gradient.sum(), torch.tensor(0.0), atol=1e-6, rtol=0)


@pytest.mark.parametrize("dtype", KINDS)
def test_what_is_not_a_number_stays_so(dtype: torch.dtype):
    x = made(3, 40, dtype=dtype)
    x[1, 5] = math.nan
    weight = torch.ones(40, dtype=dtype)
    logprobs, _ = passes.chosen(x, torch.tensor([1, 2, 3]), temperature=1.0)

    assert passes.norm(x, weight, epsilon=1e-5)[0][1].isnan().all()
    assert passes.gated(x, x)[1, 5].isnan()
    assert logprobs.isnan().tolist() == [False, True, False]


@pytest.mark.parametrize("dtype", KINDS)
def test_threads_change_no_bit(dtype: torch.dtype):
    torch.manual_seed(0)
    x, upstream = made(700, 64, dtype=dtype), made(700, 64, dtype=dtype)
    weight, tokens = made(64, dtype=dtype), torch.randint(0, 64, (700,))

    def everything() -> list[Tensor]:
        normed, scale = passes.norm(x, weight, epsilon=1e-5)
        logprobs, sums = passes.chosen(x, tokens, temperature=1.0)
        backward = passes.norm_backward(upstream, x=x, weight=weight, scale=scale)
        return [normed, scale, *backward, passes.gated(x, upstream), logprobs, sums]

    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = everything()
        torch.set_num_threads(3)
        together = everything()
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(alone, together, strict=True))


def test_strided_numbers_are_read_as_they_stand(without_library: Callable):
    torch.manual_seed(0)
    wide = torch.randn(6, 96)

    def both(x: Tensor, other: Tensor, weight: Tensor) -> tuple[Tensor, ...]:
        return passes.norm(x, weight, epsilon=1e-5)[0], passes.gated(x, other)

    check(both, [wide[:, ::2], wide[:, :48], torch.rand(48)], without_library=without_library)
