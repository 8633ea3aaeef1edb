"""Pairs are drawn with exactly the probability that is stored beside them."""

import random
from collections import Counter

import pytest

from comparisons.core.pairing import (
    BY_TRAFFIC,
    RULES,
    SAME_DEPLOYMENT,
    SERVING_AGAINST_TRIAL,
    NothingToPair,
    choose_pair,
    pair_probability,
)

PLACES = [
    (1, "serving", 50),
    (2, "serving", 20),
    (3, "trial", 25),
    (4, "trial", 5),
    (5, "retired", 0),
]
DRAWS = 20_000


def _drawn(rule, places=PLACES):
    rng = random.Random(7)
    return [choose_pair(places, rule=rule, rng=rng) for _ in range(DRAWS)]


def test_choose_pair_by_traffic_multiplies_the_shares():
    pair = choose_pair(
        [(1, "serving", 75), (2, "trial", 25)], rule=BY_TRAFFIC, rng=random.Random(1)
    )

    shares = {1: 0.75, 2: 0.25}
    assert pair.probability == pytest.approx(shares[pair.side_a] * shares[pair.side_b])
    assert pair.rule == BY_TRAFFIC


@pytest.mark.parametrize("rule", RULES)
def test_choose_pair_frequencies_agree_with_the_stored_probability(rule):
    pairs = _drawn(rule)

    counts = Counter((pair.side_a, pair.side_b) for pair in pairs)
    stored = {(pair.side_a, pair.side_b): pair.probability for pair in pairs}
    for key, count in counts.items():
        error = 4 * (stored[key] * (1 - stored[key]) / DRAWS) ** 0.5
        assert abs(count / DRAWS - stored[key]) < error, (key, count / DRAWS, stored[key])


@pytest.mark.parametrize("rule", RULES)
def test_pair_probabilities_sum_to_one(rule):
    ids = [place[0] for place in PLACES]

    total = sum(pair_probability(PLACES, side_a=a, side_b=b, rule=rule) for a in ids for b in ids)

    assert total == pytest.approx(1.0)


def test_serving_against_trial_always_shows_one_of_each_and_either_side():
    roles = {deployment: role for deployment, role, _ in PLACES}

    pairs = _drawn(SERVING_AGAINST_TRIAL)

    assert {frozenset((roles[p.side_a], roles[p.side_b])) for p in pairs} == {
        frozenset({"serving", "trial"})
    }
    on_a = sum(roles[pair.side_a] == "trial" for pair in pairs)
    assert abs(on_a / DRAWS - 0.5) < 4 * (0.25 / DRAWS) ** 0.5


def test_same_deployment_shows_one_deployment_twice():
    assert all(pair.side_a == pair.side_b for pair in _drawn(SAME_DEPLOYMENT))


def test_serving_against_trial_without_a_trial_is_recorded_as_drawn_by_traffic():
    pair = choose_pair([(1, "serving", 100)], rule=SERVING_AGAINST_TRIAL, rng=random.Random(1))

    assert (pair.side_a, pair.side_b, pair.rule, pair.probability) == (1, 1, BY_TRAFFIC, 1.0)


def test_choose_pair_never_draws_what_takes_no_traffic():
    drawn = {pair.side_a for pair in _drawn(BY_TRAFFIC)} | {
        pair.side_b for pair in _drawn(BY_TRAFFIC)
    }

    assert drawn == {1, 2, 3, 4}


def test_choose_pair_without_traffic_says_so():
    with pytest.raises(NothingToPair, match="takes traffic"):
        choose_pair([(5, "retired", 0)], rule=BY_TRAFFIC, rng=random.Random(1))
