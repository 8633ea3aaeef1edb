"""Elo fits: hand-computed pairs, known strengths found again, unconnected groups kept apart."""

import math

import numpy as np
import pytest

from comparisons.core.elo import (
    ELO_PER_NAT,
    Choice,
    elo_of_win_fraction,
    fit_elo,
    fit_strengths,
    is_kept,
)


def choices_of(*, winner: str, loser: str, count: int, start: int = 0) -> list[Choice]:
    return [
        Choice(winner=winner, loser=loser, conversation=f"{winner}{loser}{start + i}")
        for i in range(count)
    ]


def win_fraction_of_elo(difference: float) -> float:
    return 1 / (1 + 10 ** (-difference / 400))


def test_elo_unit_is_400_over_ln_10():
    assert pytest.approx(173.7178) == ELO_PER_NAT
    assert elo_of_win_fraction(10 / 11) == pytest.approx(400.0)
    assert elo_of_win_fraction(0.5) == 0.0


def test_two_entrants_match_the_closed_form():
    choices = choices_of(winner="a", loser="b", count=9) + choices_of(
        winner="b", loser="a", count=3
    )

    fit = fit_elo(choices, anchor="b", samples=20)

    a, b = fit.standings
    assert (a.name, b.name) == ("a", "b")
    assert a.elo == pytest.approx(400 * math.log10(3))
    assert (b.elo, b.low, b.high) == (0.0, 0.0, 0.0)
    assert (a.choices, a.wins, a.win_fraction) == (12, 9, 0.75)
    assert b.is_anchor
    assert not a.is_anchor
    assert a.is_bounded


def test_fit_strengths_is_where_expected_wins_equal_wins():
    wins = np.array([[0, 7, 3], [4, 0, 9], [2, 5, 0]], dtype=float)

    strengths, is_bounded = fit_strengths(wins[None])

    r = strengths[0]
    for i in range(3):
        expected = sum(
            (wins[i, j] + wins[j, i]) / (1 + math.exp(r[j] - r[i])) for j in range(3) if j != i
        )
        assert expected == pytest.approx(wins[i].sum())
    assert is_bounded.tolist() == [True]
    assert r.sum() == pytest.approx(0.0)


def test_fit_finds_known_strengths_inside_its_intervals():
    known = {"small": -140.0, "distilled": 0.0, "ppo": 96.0, "older": 60.0}
    rng = np.random.default_rng(3)
    names = sorted(known)
    choices = []
    for conversation in range(900):
        first, second = rng.choice(4, size=2, replace=False)
        one, two = names[first], names[second]
        for _turn in range(3):
            is_won = rng.random() < win_fraction_of_elo(known[one] - known[two])
            winner, loser = (one, two) if is_won else (two, one)
            choices.append(Choice(winner=winner, loser=loser, conversation=str(conversation)))

    fit = fit_elo(choices, anchor="distilled", samples=200, seed=1)

    assert fit.groups == 1
    assert fit.choices == 2700
    assert fit.conversations == 900
    for standing in fit.standings:
        assert standing.low <= known[standing.name] <= standing.high
        assert standing.elo == pytest.approx(known[standing.name], abs=35)
    assert [s.name for s in fit.standings] == ["ppo", "older", "distilled", "small"]
    assert fit.standings[-1].rank == (4, 4)


def test_intervals_widen_when_choices_share_conversations():
    rng = np.random.default_rng(0)
    alone, shared = [], []
    for i in range(300):
        winner = "a" if rng.random() < 0.6 else "b"
        loser = "b" if winner == "a" else "a"
        alone.append(Choice(winner=winner, loser=loser, conversation=str(i)))
        shared += [Choice(winner=winner, loser=loser, conversation=str(i))] * 4

    narrow = fit_elo(alone * 4, anchor="b", samples=200)
    wide = fit_elo(shared, anchor="b", samples=200)
    independent = fit_elo(
        [Choice(winner=c.winner, loser=c.loser, conversation=str(i)) for i, c in enumerate(shared)],
        anchor="b",
        samples=200,
    )

    def width(fit):
        standing = next(s for s in fit.standings if s.name == "a")
        return standing.high - standing.low

    assert width(narrow) == pytest.approx(width(wide), rel=0.35)
    assert width(wide) > 1.5 * width(independent)


def test_unconnected_groups_have_anchors_of_their_own_and_are_not_ranked_together():
    choices = (
        choices_of(winner="a", loser="b", count=120)
        + choices_of(winner="b", loser="a", count=60)
        + choices_of(winner="x", loser="y", count=70)
        + choices_of(winner="y", loser="x", count=50)
    )

    fit = fit_elo(choices, anchor="b", samples=100)

    assert fit.groups == 2
    by_name = {s.name: s for s in fit.standings}
    assert by_name["a"].group == by_name["b"].group != by_name["x"].group == by_name["y"].group
    assert {s.name for s in fit.standings if s.is_anchor} == {"b", "x"}
    assert by_name["a"].rank == (1, 1)
    assert by_name["b"].rank == (2, 2)
    assert by_name["x"].rank == (1, 2) == by_name["y"].rank


def test_few_conversations_give_no_interval_and_a_reason():
    many = [Choice(winner="a", loser="b", conversation="1")] * 90
    many += [Choice(winner="b", loser="a", conversation="1")] * 60
    spread = choices_of(winner="a", loser="b", count=7) + choices_of(winner="b", loser="a", count=3)

    one, ten = (fit_elo(each, anchor="b", samples=50).standings for each in (many, spread))

    assert [(s.low, s.high, s.rank, s.conversations) for s in one] == [(None, None, None, 1)] * 2
    assert {s.reason for s in one} == {"no interval: 1 conversation, 10 needed"}
    assert one[0].elo == pytest.approx(ELO_PER_NAT * math.log(90 / 60))
    assert ten[0].low < ten[0].elo < ten[0].high
    assert {s.reason for s in ten} == {""}


def test_few_choices_are_shown_but_not_ranked():
    fit = fit_elo(choices_of(winner="a", loser="b", count=9), anchor="b", samples=50)

    assert [s.rank for s in fit.standings] == [None, None]
    assert [s.is_bounded for s in fit.standings] == [False, False]
    assert all(math.isfinite(s.elo) for s in fit.standings)


def test_who_is_joined_to_the_anchor_one_way_only_has_no_bounds():
    choices = (
        choices_of(winner="a", loser="b", count=120)  # a, the anchor, never lost
        + choices_of(winner="b", loser="c", count=80)
        + choices_of(winner="c", loser="b", count=40)
    )

    apart = {each.name: each for each in fit_elo(choices, anchor="a", samples=20).standings}
    joined = {each.name: each for each in fit_elo(choices, anchor="b", samples=20).standings}

    assert {name: each.is_bounded for name, each in apart.items()} == dict.fromkeys("abc", False)
    assert {name: each.is_bounded for name, each in joined.items()} == {
        "a": False, "b": True, "c": True,
    }  # fmt: skip


def test_same_seed_same_fit_and_no_choices_no_standings():
    choices = choices_of(winner="a", loser="b", count=5) + choices_of(
        winner="b", loser="a", count=4
    )

    assert fit_elo(choices, samples=50, seed=4) == fit_elo(choices, samples=50, seed=4)
    assert fit_elo([], samples=5).standings == ()


def test_unsure_is_left_out_and_unknown_kept():
    assert [is_kept(s) for s in (None, 1, 2, 3, 4)] == [True, False, True, True, True]
