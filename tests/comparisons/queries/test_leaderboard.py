"""The leaderboard: who counts, who wins when the more harmful was asked for, what stays out."""

import pytest
from django.utils.timezone import now

from comparisons.queries.leaderboard import choices_between, leaderboard, left_out, shifts_without
from comparisons.services.importing import import_hh
from tests.comparisons.making import (
    make_campaign,
    make_comparison,
    make_conversation,
    make_crowdworker,
    make_deployment,
)

pytestmark = pytest.mark.django_db


def test_wins_are_counted_between_different_deployments_only():
    old, new = make_deployment("old"), make_deployment("new")
    for _ in range(3):
        make_comparison(make_conversation(), picked_by=new, other_by=old)
    make_comparison(make_conversation(), picked_by=old, other_by=new)
    make_comparison(make_conversation(), picked_by=new, other_by=new)
    make_comparison(make_conversation(), picked_by=new, other_by=None)
    make_comparison(make_conversation(), picked_by=new, other_by=old, strength=1)
    make_comparison(make_conversation(), picked_by=new, other_by=old, superseded_at=now())
    make_comparison(make_conversation(), picked_by=new, other_by=old, set_aside_at=now())
    make_comparison(make_conversation(), picked_by=new, other_by=old, origin="simulated")
    import_hh(
        [
            '{"chosen":"\\n\\nHuman: a\\n\\nAssistant: b","rejected":"\\n\\nHuman: a\\n\\nAssistant: c"}'
        ],
        objective="helpful",
        tranche="base",
    )

    board = leaderboard("helpful", samples=50)

    assert [row.deployment for row in board.rows] == [new, old]
    assert board.anchor == old
    assert [(row.standing.choices, row.standing.wins) for row in board.rows] == [(4, 3), (4, 1)]
    assert board.rows[0].standing.elo == pytest.approx(190.85, abs=0.01)
    assert (board.choices, board.unsure_left_out, board.groups) == (4, 1, 1)
    pair = board.pairs[0]
    assert (pair.one, pair.two, pair.one_wins, pair.two_wins) == (old, new, 1, 3)
    assert len(choices_between(old, new)) == 4
    assert leaderboard("helpful", samples=10, has_simulated=True).choices == 5
    assert left_out("helpful") == [
        ("undone by the person", 1), ("set aside by an administrator", 1), ("simulated", 1),
        ("with a text that no deployment wrote", 2), ("between a deployment and itself", 1), ("unsure", 1),
    ]  # fmt: skip


def test_the_less_harmful_response_wins_a_red_team_choice():
    mild, wild = make_deployment("mild"), make_deployment("wild")
    red_team = make_campaign(objective="harmless")
    for _ in range(2):
        make_comparison(make_conversation(campaign=red_team), picked_by=wild, other_by=mild)

    board = leaderboard("harmless", samples=20)

    assert board.rows[0].deployment == mild
    assert board.rows[0].standing.wins == 2
    assert leaderboard("helpful", samples=20).rows == ()


def test_leaving_a_person_out_says_who_moves_and_whether_the_order_changes():
    old, new = make_deployment("old"), make_deployment("new")
    stubborn = make_crowdworker()
    for _ in range(6):
        make_comparison(make_conversation(crowdworker=stubborn), picked_by=old, other_by=new)
    for _ in range(3):
        make_comparison(make_conversation(), picked_by=new, other_by=old)
    make_comparison(make_conversation(), picked_by=old, other_by=new)

    shifts = shifts_without(stubborn)

    assert [(shift.deployment, shift.is_order_changed) for shift in shifts] == [(new, True)]
    assert shifts[0].elo == pytest.approx(173.717793 * (1.098612 + 0.847298), abs=0.01)
    assert shifts_without(make_crowdworker()) == []
