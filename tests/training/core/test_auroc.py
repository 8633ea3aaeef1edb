"""The area under the ROC curve against counting pairs, and its interval against known truth."""

import itertools
import random

import pytest

from training.core.evaluation.auroc import auroc, auroc_with_interval


def counted(*, outside: list[float], inside: list[float]) -> float:
    pairs = list(itertools.product(outside, inside))
    return sum(1.0 if a > b else 0.5 if a == b else 0.0 for a, b in pairs) / len(pairs)


def test_auroc_by_hand():
    # of six pairs 3 wins all three, 1 wins over 0, draws with 1 and loses to 2
    assert auroc(outside=[3.0, 1.0], inside=[1.0, 2.0, 0.0]) == pytest.approx((3 + 1 + 0.5) / 6)
    assert auroc(outside=[2.0], inside=[1.0]) == 1.0
    assert auroc(outside=[0.0], inside=[1.0]) == 0.0


@pytest.mark.parametrize("seed", range(5))
def test_auroc_equals_counting_every_pair_ties_included(seed: int):
    rng = random.Random(seed)
    outside = [float(rng.randrange(8)) for _ in range(rng.randrange(1, 30))]
    inside = [float(rng.randrange(6)) for _ in range(rng.randrange(1, 30))]

    found = auroc(outside=outside, inside=inside)

    assert found == pytest.approx(counted(outside=outside, inside=inside))
    assert auroc(outside=inside, inside=outside) == pytest.approx(1 - found)


def test_auroc_sees_only_the_order():
    rng = random.Random(0)
    outside, inside = ([rng.gauss(0, 1) for _ in range(40)] for _ in range(2))

    bent = auroc(outside=[x**3 + x for x in outside], inside=[x**3 + x for x in inside])

    assert bent == auroc(outside=outside, inside=inside)


def test_the_interval_covers_the_truth_about_nineteen_times_in_twenty():
    rng = random.Random(1)
    covered = 0
    for seed in range(200):
        outside = [rng.gauss(1, 1) for _ in range(60)]
        inside = [rng.gauss(0, 1) for _ in range(80)]
        found = auroc_with_interval(outside=outside, inside=inside, samples=200, seed=seed)
        assert found["low"] <= found["value"] <= found["high"]
        assert found["n"] == 140
        covered += found["low"] <= 0.7602 <= found["high"]  # Φ(1/√2)

    assert 180 <= covered <= 198


def test_the_interval_is_the_seeds():
    groups = {"outside": [1.0, 2.0, 5.0], "inside": [0.0, 1.5, 4.0]}

    found = [auroc_with_interval(**groups, samples=50, seed=seed) for seed in (3, 3)]

    assert found[0] == found[1]
