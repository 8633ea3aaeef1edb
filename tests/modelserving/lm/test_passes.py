"""The compiled passes against torch's operations, and against autograd in double precision."""

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


@pytest.mark.parametrize("number", [math.nan, math.inf])
@pytest.mark.parametrize("dtype", KINDS)
def test_what_is_not_finite_stays_so(dtype: torch.dtype, number: float):
    """Else the trainer's last guard, the gradient's norm, would see nothing."""
    x, y, weight = made(3, 40, dtype=dtype), made(3, 40, dtype=dtype), made(40, dtype=dtype)
    x[1, 5] = number
    tokens, upstream = torch.tensor([1, 2, 3]), torch.ones(3)

    found, scale = passes.norm(x, weight, epsilon=1e-5)
    of_x, of_weight = passes.norm_backward(y, x=x, weight=weight, scale=scale)
    logprobs, sums = passes.chosen(x, tokens, temperature=1.0)
    of_logits = passes.chosen_backward(
        upstream, logits=x, tokens=tokens, sums=sums, temperature=1.0
    )
    of_gate, of_up, inner = passes.gated_backward(y, gate=x, up=y)
    entropy = passes.entropies(x, sums, temperature=1.0)

    assert not found[1].isfinite().all()
    assert not of_x[1].isfinite().all()
    assert not of_weight.isfinite().all()
    assert not passes.gated(x, y)[1, 5].isfinite()
    assert not torch.stack([of_gate[1, 5], of_up[1, 5], inner[1, 5]]).isfinite().all()
    assert logprobs.isfinite().tolist() == [True, False, True]
    assert entropy.isfinite().tolist() == [True, False, True]
    assert of_logits.isfinite().all(1).tolist() == [True, False, True]
    assert not passes.gated_backward(x, gate=y, up=y)[0][1, 5].isfinite()


def test_every_kind_of_nan_is_stored_as_one():
    full = torch.tensor([0x7FFFFFFF, -1], dtype=torch.int32).view(torch.float32)
    logits = torch.zeros(2, 5, dtype=torch.bfloat16)
    tokens = torch.tensor([0, 1])
    _, sums = passes.chosen(logits, tokens, temperature=1.0)

    found = passes.chosen_backward(full, logits=logits, tokens=tokens, sums=sums, temperature=1.0)

    assert found.isnan().all()


@pytest.mark.parametrize("dtype", KINDS)
def test_gradients_are_those_of_autograd_in_double_precision(dtype: torch.dtype):
    torch.manual_seed(0)
    x, gate, up = (made(60, 43, dtype=dtype) for _ in range(3))
    upstream, weight = made(60, 43, dtype=dtype), made(43, dtype=dtype)
    tokens = torch.randint(0, 43, (60,))
    exact = [each.double().requires_grad_() for each in (x, weight, gate, up, x)]
    normed = exact[0] * (exact[0].square().mean(-1, keepdim=True) + 1e-5).rsqrt() * exact[1]
    opened = F.silu(exact[2]) * exact[3]
    chosen = (exact[4] / 0.7).log_softmax(-1).gather(1, tokens[:, None])[:, 0]
    given = upstream.double()
    ((normed + opened) * given).sum().backward()
    (chosen * given[:, 0]).sum().backward()

    _, scale = passes.norm(x, weight, epsilon=1e-5)
    of_x, of_weight = passes.norm_backward(upstream, x=x, weight=weight, scale=scale)
    of_gate, of_up, _ = passes.gated_backward(upstream, gate=gate, up=up)
    _, sums = passes.chosen(x, tokens, temperature=0.7)
    of_logits = passes.chosen_backward(
        upstream[:, 0], logits=x, tokens=tokens, sums=sums, temperature=0.7
    )

    bound = 1e-6 if dtype == torch.float32 else 4e-3  # one rounding of each number
    for ours, truth in zip((of_x, of_weight, of_gate, of_up, of_logits), exact, strict=True):
        assert (ours.double() - truth.grad).norm() <= bound * truth.grad.norm()


def test_numbers_of_two_types_and_tokens_beyond_the_vocabulary_are_not_misread():
    x, weight = made(4, 40, dtype=torch.bfloat16), torch.ones(40)

    found, _ = passes.norm(x, weight, epsilon=1e-5)
    assert found.dtype == torch.float32  # promoted, as torch does
    torch.testing.assert_close(found.square().mean(-1), torch.ones(4), rtol=0.02, atol=0)
    with pytest.raises(IndexError, match="vocabulary"):
        passes.chosen(x, torch.tensor([0, 1, 2, 40]), temperature=1.0)
    with pytest.raises(TypeError, match="int32"):
        passes.chosen(x, torch.tensor([0, 1, 2, 3], dtype=torch.int32), temperature=1.0)


@pytest.mark.parametrize("dtype", KINDS)
def test_threads_change_no_bit(dtype: torch.dtype):
    torch.manual_seed(0)
    x, upstream = made(700, 64, dtype=dtype), made(700, 64, dtype=dtype)
    weight, tokens = made(64, dtype=dtype), torch.randint(0, 64, (700,))

    def everything() -> list[Tensor]:
        normed, scale = passes.norm(x, weight, epsilon=1e-5)
        logprobs, sums = passes.chosen(x, tokens, temperature=1.0)
        of_logits = passes.chosen_backward(
            upstream[:, 0], logits=x, tokens=tokens, sums=sums, temperature=1.0
        )
        backward = passes.norm_backward(upstream, x=x, weight=weight, scale=scale)
        gates = (passes.gated(x, upstream), *passes.gated_backward(x, gate=x, up=upstream))
        entropy = passes.entropies(x, sums, temperature=1.0)
        return [normed, scale, *backward, *gates, logprobs, sums, of_logits, entropy]

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
