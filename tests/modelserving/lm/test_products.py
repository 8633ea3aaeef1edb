"""Products in whole numbers of 16 bits against double precision, and what a block makes of them."""

import itertools
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM

from modelserving.lm import products
from modelserving.lm.attention import hidden_states, pack
from modelserving.lm.policy import pack_responses, response_logprobs
from modelserving.lm.threads import in_threads

# of two sides, each off by about 1e-4 of its norm; in one product most of it cancels
ROUNDING = 2e-4


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    products.multiply_in_int16(is_on=False)
    torch.set_num_threads(threads)


@pytest.fixture
def int16_here() -> None:
    """Asked for when a test runs: what is not compiled yet takes seconds."""
    if not products.has_int16_products():
        pytest.skip(f"no products in int16 here: {products.NEEDS}")


@pytest.fixture
def in_int16(int16_here: None) -> None:
    products.multiply_in_int16(is_on=True)


def off(found: Tensor, a: Tensor, b: Tensor) -> float:
    """The error, over what the norms of rows and columns would allow a product to be."""
    exact = a.double() @ b.double()
    scale = a.double().norm(dim=1, keepdim=True) * b.double().norm(dim=0, keepdim=True)
    return float(((found.double() - exact) / scale).abs().max())


def layouts(matrix: Tensor) -> tuple[Tensor, Tensor]:
    return matrix.contiguous(), matrix.t().contiguous().t()


@pytest.mark.parametrize(
    ("M", "N", "K"),
    [
        (32, 32, 32),
        (37, 45, 257),
        (96, 16 * 61, 256),
        (101, 33, 700),
        (2050, 40, 64),
        (40, 1000, 513),
        (2050, 1000, 400),
    ],
)
def test_a_product_is_that_of_double_precision(M: int, N: int, K: int, in_int16: None):
    torch.manual_seed(M)
    for a, b in itertools.product(layouts(torch.randn(M, K)), layouts(torch.randn(K, N))):
        base = torch.randn(M, N)
        assert off(products.product(a, b), a, b) < ROUNDING
        assert off(products.added(base, a, b) - base, a, b) < ROUNDING
        total = base.clone()
        products.add_(total, a, b)
        assert torch.equal(total, products.added(base, a, b))


def test_it_rounds_ten_times_less_than_bfloat16(in_int16: None):
    torch.manual_seed(0)
    a, b = torch.randn(200, 256), torch.randn(256, 200)
    exact = a.double() @ b.double()
    ours = (products.product(a, b).double() - exact).norm()
    assert ours < 0.1 * ((a.bfloat16() @ b.bfloat16()).double() - exact).norm()


@pytest.mark.parametrize("K", [384, 512])  # 384 numbers have one scale
@pytest.mark.parametrize("outlier", [1.0, 1e2, 1e6])
def test_no_sum_leaves_32_bits(outlier: float, K: int, in_int16: None):
    """Equal signs everywhere, and rows of which one number is nearly all: the largest sums there are.

    Equal numbers are all rounded the same way.
    """
    a, b = torch.ones(64, K), torch.ones(K, 64)
    a[:, 7] = b[7] = outlier
    assert off(products.product(a, b), a, b) < 2.5 * ROUNDING
    assert off(products.product(-a, b), -a, b) < 2.5 * ROUNDING


@pytest.mark.parametrize("size", [1e-17, 1e-6, 1e6, 1e15])
def test_the_size_of_numbers_does_not_matter(size: float, in_int16: None):
    torch.manual_seed(0)
    a, b = size * torch.randn(64, 300), torch.randn(300, 64)
    assert off(products.product(a, b), a, b) < ROUNDING
    assert torch.count_nonzero(products.product(0 * a, b)) == 0


@pytest.mark.parametrize("broken", [float("nan"), float("inf"), -float("inf"), 1e30])
@pytest.mark.parametrize("side", [0, 1])
def test_what_is_not_finite_spoils_its_own_lines_alone(broken: float, side: int, in_int16: None):
    sides = [torch.ones(40, 300), torch.ones(300, 40)]
    sides[side][3, 5] = broken
    for a, b in itertools.product(*map(layouts, sides)):
        is_finite = products.product(a, b).isfinite()
        own = is_finite[3] if side == 0 else is_finite[:, 5]
        assert not own.any()
        assert is_finite.sum() == 39 * 40


@pytest.mark.parametrize(("left", "right"), [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_threads_and_neighbours_change_no_bit(left: int, right: int, in_int16: None):
    torch.manual_seed(0)
    a, b = layouts(torch.randn(500, 600))[left], layouts(torch.randn(600, 300))[right]
    found = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        found += [products.product(a, b), products.products((a, b), (a, b))[1]]
    assert all(torch.equal(each, found[0]) for each in found)
    assert torch.equal(products.product(a[100:150], b), found[0][100:150])


def test_shared_sides_are_read_anew_where_another_stands_between(in_int16: None):
    torch.manual_seed(0)
    h, first, second = torch.randn(300, 290), torch.randn(290, 64), torch.randn(290, 1000)
    pairs = [(h, first), (h, second), (-h, second), (-h, first), (h[:100], first)]
    for found, (a, b) in zip(products.products(*pairs), pairs, strict=True):
        assert torch.equal(found, products.product(a, b))


def test_shapes_that_do_not_fit_are_refused(in_int16: None):
    with pytest.raises(ValueError, match="does not fit"):
        products.product(torch.ones(40, 50), torch.ones(51, 40))
    with pytest.raises(ValueError, match="does not fit"):
        products.add_(torch.ones(40, 41), torch.ones(40, 50), torch.ones(50, 40))


def test_small_matrices_and_other_types_are_torchs(in_int16: None):
    torch.manual_seed(0)
    for a, b in [
        (torch.randn(31, 64), torch.randn(64, 64)),
        (torch.randn(64, 64).double(), torch.randn(64, 64).double()),
        (torch.randn(64, 64).bfloat16(), torch.randn(64, 64).bfloat16()),
    ]:
        assert torch.equal(products.product(a, b), a @ b)


def test_without_them_it_says_what_is_missing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(products, "has_int16_products", lambda: False)
    with pytest.raises(RuntimeError, match="AVX2"):
        products.multiply_in_int16(is_on=True)
    assert not products.multiplies_in_int16()


def test_a_layer_gives_gradients_either_way(int16_here: None):
    torch.manual_seed(0)
    linear, x = nn.Linear(64, 48, bias=False), torch.randn(40, 64, requires_grad=True)
    upstream = torch.randn(40, 48)
    found = []

    for is_on in (False, True):
        products.multiply_in_int16(is_on=is_on)
        y = products.through(linear, x)
        found.append((y, *torch.autograd.grad(y, (x, linear.weight), upstream)))

    for exact, ours in zip(*found, strict=True):
        assert 0 < (ours - exact).norm() < ROUNDING * exact.norm()


def test_biases_are_added(in_int16: None):
    torch.manual_seed(0)
    x, weights = torch.randn(50, 64), [torch.randn(40, 64), torch.randn(48, 64)]
    bias = torch.randn(48)

    first, second = products.linears((x, weights[0], None), (x, weights[1], bias))

    assert torch.equal(first, products.product(x, weights[0].t()))
    assert torch.equal(second, products.product(x, weights[1].t()) + bias)


def test_what_would_lose_its_gradient_is_refused(in_int16: None):
    a, b = torch.randn(40, 40, requires_grad=True), torch.randn(40, 40)

    with pytest.raises(AssertionError, match="no gradient"):
        products.product(a, b)


def test_threads_of_python_do_not_get_in_each_others_way(in_int16: None):
    torch.manual_seed(0)
    pairs = [(torch.randn(300, 500), torch.randn(500, 200)) for _ in range(8)]

    found = in_threads(lambda pair: products.product(*pair), pairs, threads=4)

    assert all(
        torch.equal(f, products.product(a, b)) for f, (a, b) in zip(found, pairs, strict=True)
    )


def small_model() -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=100, hidden_size=64, intermediate_size=96, num_hidden_layers=3,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=256,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


@torch.no_grad()
@pytest.mark.parametrize(("tokens", "read"), [(5, 32), (70, 70)])
def test_a_row_is_read_no_longer_than_it_is(in_int16: None, tokens: int, read: int):
    model, lengths = small_model(), []
    tree = [torch.randint(1, 100, (tokens,)).tolist()]

    alone = hidden_states(model, pack([tree]), keep=lambda _, key, __: lengths.append(len(key)))
    among_others = hidden_states(model, pack([tree, [[*range(1, 90)]]]))

    assert lengths == [read] * 3
    assert torch.equal(alone, among_others[:tokens])


def test_a_model_learns_the_same_by_them(int16_here: None):
    """Hidden states, log-probabilities and gradients of a whole model, against float32's own."""
    model = small_model()
    sequences = [torch.randint(1, 100, (81,)).tolist() for _ in range(3)]
    row, tokens = pack_responses(
        [
            (each[:start], [each[start:]])
            for each, start in zip(sequences, (30, 20, 40), strict=True)
        ]
    )
    found = []
    for is_on in (False, True):
        products.multiply_in_int16(is_on=is_on)
        hidden = hidden_states(model, row, asked=tokens.predicted_at)
        said = response_logprobs(model, hidden, tokens=tokens, temperature=1.0)
        found.append(
            (said.logprobs, *torch.autograd.grad(said.logprobs.sum(), [*model.parameters()]))
        )
    for exact, ours in zip(*found, strict=True):
        assert 0 < (ours - exact).norm() < 1e-3 * exact.norm()
