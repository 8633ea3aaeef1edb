"""Intervals, calibration and breakdowns against hand arithmetic."""

import math
import random

import pytest

from comparisons.core.agreement import wilson_interval
from tests.training.core.test_batching import encoded
from training.core.evaluation.intervals import clustered_share, mean, share
from training.core.evaluation.preference import (
    Judged,
    by_threshold,
    calibration,
    calibration_error,
    report,
)


def test_wilson_covers_the_truth_nineteen_times_in_twenty():
    rng = random.Random(0)
    covered = 0
    for _ in range(1000):
        low, high = wilson_interval(sum(rng.random() < 0.6 for _ in range(50)), 50)
        covered += low <= 0.6 <= high

    assert 930 <= covered <= 970


def test_mean_by_hand():
    result = mean([1.0, 2.0, 3.0])

    assert result["value"] == 2.0
    assert result["high"] - 2.0 == pytest.approx(1.96 / math.sqrt(3), rel=1e-3)
    assert result["n"] == 3


def test_clusters_that_agree_within_themselves_widen_the_interval():
    clusters = {str(index): [float(index % 2)] * 20 for index in range(20)}

    wide = clustered_share(clusters, samples=500, seed=0)
    narrow = share([value for each in clusters.values() for value in each])

    assert wide["value"] == narrow["value"] == 0.5
    assert wide["high"] - wide["low"] > 2 * (narrow["high"] - narrow["low"])


def test_calibration_of_scores_that_mean_what_they_say():
    rng = random.Random(0)
    margins = []
    for _ in range(20_000):
        size = rng.random() * 3
        right = rng.random() < 1 / (1 + math.exp(-size))
        margins.append(size if right else -size)

    bins = calibration(margins)

    assert sum(each["accuracy"]["n"] for each in bins) == 20_000
    assert calibration_error(bins) < 0.02
    assert calibration_error(calibration([10 * margin for margin in margins])) > 0.1


def test_report_of_two_comparisons_by_hand():
    right = Judged(comparison=encoded(objective="helpful", turn=1), chosen=2.0, rejected=1.0)
    wrong = Judged(comparison=encoded(objective="harmless", turn=9), chosen=0.0, rejected=3.0)

    found = report([right, wrong], bootstrap_samples=50, seed=0)

    assert found["accuracy"]["value"] == 0.5
    assert found["by_objective"]["helpful"]["value"] == 1.0
    assert found["by_objective"]["harmless"]["value"] == 0.0
    assert set(found["by_turn"]) == {"1", "6+"}
    expected = (math.log(1 + math.exp(-1)) + math.log(1 + math.exp(3))) / 2
    assert found["loss"] == pytest.approx(expected)
    assert sum(found["histogram"]["chosen"]) == sum(found["histogram"]["rejected"]) == 2


def test_scores_of_several_tranches_are_counted_over_the_same_bins():
    base = Judged(comparison=encoded(tranche="base"), chosen=0.0, rejected=1.0)
    online = Judged(comparison=encoded(tranche="online"), chosen=4.0, rejected=4.0)

    found = report([base, online], bootstrap_samples=10, seed=0)["scores_by_tranche"]

    assert (found["low"], found["high"]) == (0.0, 4.0)
    assert [i for i, n in enumerate(found["tranches"]["base"]) if n] == [0, 10]
    assert found["tranches"]["online"][-1] == 2
    assert report([base], bootstrap_samples=10, seed=0)["scores_by_tranche"] == {}


def test_accuracy_where_both_scores_reach_a_threshold_by_hand():
    pairs = [(1.0, 0.0), (3.0, 2.0), (2.0, 4.0), (5.0, 3.0)]  # lower scores 0, 2, 2, 3; mean 2.5
    judged = [Judged(comparison=encoded(), chosen=a, rejected=b) for a, b in pairs]

    found = by_threshold(judged)

    assert [each["threshold"] for each in found] == [-2.5, -0.5, 0.5]
    assert [each["accuracy"]["n"] for each in found] == [4, 3, 1]
    shares = [each["accuracy"]["value"] for each in found]
    assert shares == pytest.approx([3 / 4, 2 / 3, 1.0])


def test_accuracy_by_threshold_does_not_see_a_shift_of_all_scores():
    rng = random.Random(0)
    pairs = [(rng.gauss(0.5, 1), rng.gauss(0, 1)) for _ in range(300)]

    here, shifted = (
        by_threshold(
            [Judged(comparison=encoded(), chosen=a + by, rejected=b + by) for a, b in pairs]
        )
        for by in (0.0, 8.0)
    )

    assert [each["accuracy"]["n"] for each in here] == list(range(300, 0, -30))
    assert [each["accuracy"] for each in shifted] == [each["accuracy"] for each in here]
    assert [each["threshold"] for each in shifted] == pytest.approx(
        [each["threshold"] for each in here]
    )
    overall = report(
        [Judged(comparison=encoded(), chosen=a, rejected=b) for a, b in pairs],
        bootstrap_samples=10,
        seed=0,
    )
    assert overall["by_threshold"] == here
    assert overall["accuracy"] == here[0]["accuracy"]
