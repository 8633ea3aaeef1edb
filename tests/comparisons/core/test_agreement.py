"""Agreement figures against published and hand-computed values."""

import math

import pytest

from comparisons.core.agreement import (
    alpha_estimate,
    coin_probability,
    proportion,
    raw_agreement,
    wilson_interval,
)

# Krippendorff (2011), "Computing Krippendorff's Alpha-Reliability", example C: 4 observers,
# 12 units, values 1..5, some missing
EXAMPLE_C = [
    [1, 1, 1], [2, 2, 3, 2], [3, 3, 3, 3], [3, 3, 3, 3], [2, 2, 2, 2], [1, 2, 3, 4],
    [4, 4, 4, 4], [1, 1, 2, 1], [2, 2, 2, 2], [5, 5, 5], [1, 1], [3],
]  # fmt: skip
UNITS = [[value - 1 for value in unit] for unit in EXAMPLE_C]


def test_alpha_matches_the_published_example():
    nominal, ordinal = (
        alpha_estimate(UNITS, metric=metric, levels=5).value for metric in ("nominal", "ordinal")
    )

    assert nominal == pytest.approx(0.743, abs=5e-4)
    assert ordinal == pytest.approx(0.815, abs=1e-3)


def test_alpha_is_one_for_agreement_and_undefined_without_variation():
    assert alpha_estimate([[0, 0], [1, 1]], metric="nominal", levels=2).value == 1.0
    assert alpha_estimate([[1, 1], [1, 1]], metric="nominal", levels=2).value is None
    assert alpha_estimate([[1], []], metric="nominal", levels=2).value is None
    assert "undefined" in alpha_estimate([[1, 1]], metric="nominal", levels=2).reason
    assert alpha_estimate([], metric="ordinal", levels=8).reason == "nothing was judged twice yet"


def test_alpha_interval_holds_the_value_and_repeats_with_its_seed():
    first = alpha_estimate(UNITS, metric="ordinal", levels=5, samples=200)
    second = alpha_estimate(UNITS, metric="ordinal", levels=5, samples=200)

    assert first == second
    assert first.n == 11
    assert first.low < first.value < first.high <= 1.0


def test_alpha_of_few_units_has_no_interval_and_says_why():
    few = alpha_estimate([*UNITS[:5], [0, 1]], metric="nominal", levels=5)

    assert few.value is not None
    assert (few.low, few.high, few.n) == (None, None, 6)
    assert few.reason == "no interval: 6 judged twice, 10 needed"


def test_wilson_interval_by_hand():
    # n = 10, 8 successes: the textbook's 0.490 to 0.943
    assert wilson_interval(8, 10) == (
        pytest.approx(0.490, abs=1e-3),
        pytest.approx(0.943, abs=1e-3),
    )
    assert wilson_interval(0, 0) == (0.0, 1.0)
    assert wilson_interval(0, 5)[0] == 0.0
    assert proportion(0, 0).value is None


def test_raw_agreement_counts_pairs():
    estimate = raw_agreement([[0, 0], [0, 1], [1, 1, 1], [0]])

    assert (estimate.value, estimate.n) == (4 / 5, 5)


def test_coin_probability_is_the_exact_two_sided_tail():
    by_hand = 2 * sum(math.comb(10, k) for k in (9, 10)) / 2**10

    assert coin_probability(9, 10) == pytest.approx(by_hand)
    assert coin_probability(1, 10) == pytest.approx(by_hand)
    assert coin_probability(5, 10) == 1.0
    assert coin_probability(0, 0) == 1.0
    assert coin_probability(83, 88) < 1e-9
