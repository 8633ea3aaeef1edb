"""The four Elo curves against hand-made duels whose answers are known."""

import json
import math
from itertools import cycle

import pytest

from comparisons.core.elo import ELO_PER_NAT
from training.core.evaluation.elo_curves import Duel, elo_curves, mean_gap, naive_elo


def duels(better: str, worse: str, count: int, *, scores: tuple[float, float]) -> list[Duel]:
    """Choices in conversations of two turns each."""
    return [
        Duel(
            better=better,
            worse=worse,
            better_score=scores[0],
            worse_score=scores[1],
            conversation=f"{better}-{worse}-{index // 2}",
        )
        for index in range(count)
    ]


def curves(found: dict, curve: str) -> dict:
    return {each["model"]: each[curve] for each in found["models"]}


def test_crowds_elo_is_that_of_its_win_share_and_scores_are_worth_174_a_unit():
    found = elo_curves(
        duels("a", "b", 30, scores=(1.5, 0.5)) + duels("b", "a", 10, scores=(0.5, 1.5)),
        held_out_scores={},
        samples=50,
        seed=0,
    )

    assert (found["anchor"], found["choices"], found["ties"]) == ("a", 40, 0)
    assert found["agreement"] == 0.75
    assert [each["model"] for each in found["models"]] == ["a", "b"]
    assert curves(found, "crowd")["b"]["value"] == pytest.approx(-ELO_PER_NAT * math.log(3))
    scores = curves(found, "scores")["b"]
    assert [scores[key] for key in ("value", "low", "high")] == pytest.approx(
        [-173.72] * 3, abs=0.01
    )
    assert (scores["mean_score"], scores["n"]) == (0.5, 40)
    assert curves(found, "scores")["a"]["value"] == 0.0


def test_a_preference_model_that_always_agrees_has_the_crowds_elo_and_its_intervals():
    given = [
        duel
        for better, worse, count in (("a", "b", 24), ("b", "a", 12), ("b", "c", 20), ("c", "b", 14))
        for duel in duels(better, worse, count, scores=(2.0, -1.0))
    ]

    found = elo_curves(given, held_out_scores={}, samples=100, seed=3)

    assert curves(found, "picks") == curves(found, "crowd")
    assert found["agreement"] == 1.0
    assert mean_gap([found], curve="picks") == 0.0


def test_a_preference_model_that_never_agrees_turns_the_order_round():
    given = duels("a", "b", 30, scores=(0.0, 1.0)) + duels("b", "a", 10, scores=(0.0, 1.0))

    found = elo_curves(given, held_out_scores={}, samples=0, seed=0)

    crowd, picks = curves(found, "crowd")["b"]["value"], curves(found, "picks")["b"]["value"]
    assert picks == pytest.approx(-crowd)
    assert mean_gap([found], curve="picks") == pytest.approx(2 * abs(crowd))


def test_intervals_of_mean_scores_come_from_whole_conversations():
    high, low = cycle((0.0, 2.0)), cycle((0.0, 0.0))
    given = [
        Duel(better="a", worse="b", better_score=next(high), worse_score=next(low),
             conversation=f"c{index}")
        for index in range(400)
    ]  # fmt: skip

    point = curves(elo_curves(given, held_out_scores={}, samples=400, seed=1), "scores")["b"]

    half = 1.96 / math.sqrt(400) * ELO_PER_NAT  # scores of a: mean 1, standard deviation 1
    assert point["value"] == pytest.approx(-ELO_PER_NAT)
    assert point["low"] == pytest.approx(point["value"] - half, abs=4)
    assert point["high"] == pytest.approx(point["value"] + half, abs=4)


def test_models_that_nobody_compared_with_the_others_are_left_out_and_named():
    given = duels("a", "b", 5, scores=(1.0, 0.0)) + duels("b", "c", 5, scores=(1.0, 0.0))
    given += duels("x", "y", 9, scores=(1.0, 0.0))

    found = elo_curves(given, held_out_scores={}, samples=10, seed=0)

    assert [each["model"] for each in found["models"]] == ["a", "b", "c"]
    assert found["not_connected"] == ["x", "y"]
    assert found["choices"] == 10


def test_equal_scores_are_no_pick():
    given = duels("a", "b", 6, scores=(1.0, 0.0)) + duels("b", "c", 4, scores=(1.0, 1.0))

    found = elo_curves(given, held_out_scores={}, samples=10, seed=0)

    assert found["ties"] == 4
    assert curves(found, "picks")["c"] is None
    assert curves(found, "picks")["b"] is not None


def test_picks_that_do_not_reach_the_anchor_have_no_elo():
    given = duels("a", "b", 9, scores=(1.0, 1.0)) + duels("b", "c", 3, scores=(1.0, 0.0))
    given += duels("c", "a", 9, scores=(1.0, 1.0))

    found = elo_curves(given, held_out_scores={}, samples=10, seed=0)
    all_alike = elo_curves(
        duels("a", "b", 4, scores=(1.0, 1.0)), held_out_scores={}, samples=10, seed=0
    )

    assert found["anchor"] == "a"
    assert set(curves(found, "picks").values()) == {None}
    assert set(curves(all_alike, "picks").values()) == {None}
    assert all_alike["agreement"] == 0.5
    assert mean_gap([all_alike], curve="picks") is None


@pytest.mark.parametrize("is_crowd_one_sided", [False, True])
def test_who_never_lost_has_no_elo_to_be_measured_by(is_crowd_one_sided):
    given = duels("a", "b", 30, scores=(2.0, 1.0)) + duels("b", "c", 12, scores=(2.0, 1.0))
    given += duels("c", "b", 10, scores=(1.0, 2.0))
    if not is_crowd_one_sided:
        given += duels("b", "a", 15, scores=(1.0, 2.0))  # the preference model always prefers a

    found = elo_curves(given, held_out_scores={}, samples=20, seed=0)

    assert json.loads(json.dumps(found)) == found
    picks = curves(found, "picks")["a"]
    assert (picks["is_bounded"], picks["wins"]) == (False, picks["n"])
    assert curves(found, "crowd")["a"]["is_bounded"] is not is_crowd_one_sided
    assert found["anchor"] == "b"
    assert mean_gap([found], curve="picks") is None  # nor has c, whom it never prefers


def test_of_groups_apart_the_one_with_most_choices_is_shown():
    given = duels("a", "b", 5, scores=(1.0, 0.0)) + duels("b", "c", 5, scores=(1.0, 0.0))
    given += duels("x", "y", 90, scores=(1.0, 0.0)) + duels("y", "x", 30, scores=(1.0, 0.0))

    found = elo_curves(given, held_out_scores={}, samples=10, seed=0)

    assert [each["model"] for each in found["models"]] == ["x", "y"]
    assert found["not_connected"] == ["a", "b", "c"]
    assert found["choices"] == 120


def test_held_out_scores_are_set_against_the_anchors():
    found = {
        "a": {"value": 1.0, "low": 0.7, "high": 1.3, "n": 50},
        "b": {"value": 1.5, "low": 1.1, "high": 1.9, "n": 60, "from": "evaluation 3"},
    }

    naive = naive_elo(found, names=["b", "a", "c"], anchor="a")

    half = 0.5 * ELO_PER_NAT  # of errors 0.3 and 0.4
    assert set(naive) == {"a", "b"}
    assert (naive["a"]["value"], naive["a"]["low"], naive["a"]["high"]) == (0.0, 0.0, 0.0)
    assert naive["b"]["value"] == pytest.approx(0.5 * ELO_PER_NAT)
    assert naive["b"]["low"] == pytest.approx(naive["b"]["value"] - half)
    assert (naive["b"]["n"], naive["b"]["from"]) == (60, "evaluation 3")
    assert naive_elo({"b": found["b"]}, names=["a", "b"], anchor="a") == {}
