"""One token per row: as often as its probability says, within top_p, the likeliest at temperature 0."""

import ctypes
from functools import partial

import pytest
import torch

from modelserving.core.sampling import uniform
from modelserving.lm.choosing import Draw, Settings, choose, uniforms_of
from modelserving.lm.native.body import drawn
from modelserving.lm.native.compiling import library


def _compiled() -> list[ctypes.CDLL]:
    found = library()
    return [] if found is None else [found]


DRAWS = [
    pytest.param(None, id="torch"),
    *(pytest.param(partial(drawn, each), id="compiled") for each in _compiled()),
]


def _settings(rows: int, *, temperature: float = 1.0, top_p: float = 1.0) -> Settings:
    return Settings(
        temperature=torch.full((rows,), temperature),
        top_p=torch.full((rows,), top_p),
        uniforms=torch.arange(rows, dtype=torch.float64) / rows,
    )


@pytest.mark.parametrize("draw", DRAWS)
def test_choose_draws_each_token_as_often_as_its_probability_says(draw: Draw | None) -> None:
    probabilities = torch.tensor([0.5, 0.3, 0.15, 0.05])
    rows = 20_000

    tokens, costs = choose(
        logits=probabilities.log().expand(rows, -1), settings=_settings(rows), draw=draw
    )

    shares = torch.bincount(tokens, minlength=4) / rows
    assert torch.allclose(shares, probabilities, atol=2e-4)
    assert torch.allclose(costs.exp(), probabilities[tokens], atol=1e-6)


@pytest.mark.parametrize("draw", DRAWS)
def test_choose_keeps_to_the_likeliest_tokens_and_to_the_likeliest_at_zero(
    draw: Draw | None,
) -> None:
    logits = torch.tensor([0.05, 0.5, 0.15, 0.3]).log().expand(1000, -1)

    cut, _ = choose(logits=logits, settings=_settings(1000, top_p=0.7), draw=draw)
    greedy, costs = choose(logits=logits, settings=_settings(1000, temperature=0.0), draw=draw)

    assert set(cut.tolist()) == {1, 3}
    assert abs(int((cut == 1).sum()) - 625) <= 1  # 0.5 / 0.8
    assert set(greedy.tolist()) == {1}
    assert costs[0].exp().item() == pytest.approx(0.5)


@pytest.mark.parametrize("vocabulary", [1, 15, 16, 255, 256, 257, 4099])
def test_the_compiled_draw_takes_the_tokens_that_torch_takes(vocabulary: int) -> None:
    if library() is None:
        pytest.skip("no compiler here")
    torch.manual_seed(vocabulary)
    rows = 500
    logits = torch.randn(rows, vocabulary) * 4
    settings = _settings(rows, temperature=0.7)

    plain = choose(logits=logits, settings=settings)
    fast = choose(logits=logits, settings=settings, draw=partial(drawn, library()))

    assert (fast[0] == plain[0]).float().mean() > 0.995  # one of them may round the other way
    same = fast[0] == plain[0]
    assert torch.allclose(fast[1][same], plain[1][same], atol=2e-5)


@pytest.mark.parametrize("draw", DRAWS)
def test_what_is_not_a_number_shows_in_what_it_costs(draw: Draw | None) -> None:
    logits = torch.zeros(2, 40)
    logits[1, 17] = float("nan")

    _, costs = choose(logits=logits, settings=_settings(2), draw=draw)

    assert costs.isnan().tolist() == [False, True]


def test_random_numbers_of_many_positions_are_those_of_one_by_one():
    seeds = [0, 1, -1, 5, 1_000_003 * 7 + 2, (1 << 63) - 1, 1 << 80]

    found = uniforms_of(seeds, count=70)

    assert found.tolist() == [
        [uniform(seed=seed, position=place) for place in range(70)] for seed in seeds
    ]
