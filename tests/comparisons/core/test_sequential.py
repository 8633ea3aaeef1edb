"""Bounds that hold at every look: computed by hand once, and watched over many looks at policies that are alike."""

import math
import random

import pytest

from comparisons.core.sequential import boundary, share_bounds, sums_of


def test_the_boundary_is_that_of_the_paper():
    """sqrt(2 (v + rho) ln(1 + sqrt((v + rho) / rho) / (2 chance))), rho tuned to v = 100."""
    rho = 100 / (2 * math.log(40) + math.log(1 + 2 * math.log(40)))

    assert rho == pytest.approx(10.523, abs=0.001)
    by_hand = math.sqrt(2 * 110.523 * math.log(1 + 20 * math.sqrt(110.523 / 10.523)))
    assert boundary(100, chance=0.025) == pytest.approx(by_hand, abs=0.001)


def test_the_low_end_is_where_the_boundary_is_met():
    sums = sums_of([(1, 1)] * 300 + [(0, 1)] * 100)

    found = share_bounds(sums, chance=0.025)

    assert (found.share, found.choices, found.conversations) == (0.75, 400, 400)
    assert sums.above(found.low) == pytest.approx(
        boundary(sums.spread(found.low), chance=0.025), abs=1e-6
    )
    assert 0.66 < found.low < 0.75 < found.high < 0.84


def test_the_sides_mirror_each_other():
    wins, losses = [(3, 4), (0, 2), (1, 1)] * 60, [(1, 4), (2, 2), (0, 1)] * 60

    one, two = (share_bounds(sums_of(each), chance=0.01) for each in (wins, losses))

    assert one.low == pytest.approx(1 - two.high)
    assert one.high == pytest.approx(1 - two.low)


def test_choices_of_one_conversation_are_no_independent_evidence():
    alone, shared = sums_of([(1, 1)] * 150 + [(0, 1)] * 50), sums_of([(5, 5)] * 30 + [(0, 5)] * 10)

    assert share_bounds(shared, chance=0.025).low < share_bounds(alone, chance=0.025).low


def test_a_smaller_chance_of_error_asks_for_more():
    sums = sums_of([(1, 1)] * 150 + [(0, 1)] * 50)

    assert share_bounds(sums, chance=0.025 / 3).low < share_bounds(sums, chance=0.025).low


def test_who_never_lost_is_bounded_by_how_often_that_was_seen():
    few, many = (share_bounds(sums_of([(1, 1)] * n), chance=0.025) for n in (20, 400))

    assert (many.share, many.high) == (1.0, None)
    assert few.low < many.low < 1


def test_one_conversation_says_nothing():
    assert share_bounds(sums_of([(100, 100)]), chance=0.025).low is None
    assert share_bounds(sums_of([]), chance=0.025) is None


def crossings(*, iterations, policies, most, is_over):
    """In what share of iterations some policy that is no better was over the bound at some look."""
    draw = random.Random(20261127)
    wrong = 0
    for _iteration in range(iterations):
        for _policy in range(policies):
            conversations, choices, next_look = [], 0, 100
            while choices < most:
                size, lean = draw.randint(1, 6), draw.choice((0.3, 0.5, 0.7))
                conversations.append((sum(draw.random() < lean for _ in range(size)), size))
                choices += size
                if choices >= next_look:
                    next_look = choices + 40
                    if is_over(sums_of(conversations)):
                        wrong += 1
                        break
            else:
                continue
            break
    return wrong / iterations


def test_policies_that_are_no_better_are_promoted_at_no_more_than_the_nominal_rate():
    """Three of them, looked at after every 40 choices from 100 to 1,000."""
    scene = {"iterations": 160, "policies": 3, "most": 1000}

    def fixed(sums):  # the low end of an ordinary 95 % interval, at each look anew
        return sums.above(0.5) >= 1.96 * math.sqrt(sums.spread(sums.wins / sums.choices))

    def lasting(sums):
        low = share_bounds(sums, chance=0.025 / 3).low
        return low is not None and low >= 0.5

    assert crossings(**scene, is_over=fixed) > 0.25  # so looking again is not harmless by itself
    assert crossings(**scene, is_over=lasting) <= 0.025


def test_a_policy_that_is_better_is_found():
    found = 0
    for seed in range(20):
        draw = random.Random(seed)
        conversations = []
        for _each in range(400):  # about 1,000 choices, 60 % of them won: 70 Elo
            size = draw.randint(1, 4)
            conversations.append((sum(draw.random() < 0.6 for _ in range(size)), size))
        found += share_bounds(sums_of(conversations), chance=0.025 / 3).low > 0.5

    assert found == 20
