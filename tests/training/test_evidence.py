"""What speaks for a promotion: bounds that hold at every look, for every policy that may be promoted."""

import pytest

from comparisons.models import Comparison
from modelserving import promotion
from modelserving.models import Deployment
from tests.comparisons.making import make_comparison, make_conversation, make_deployment
from training.evidence import candidates, evidence_for
from training.models import Iteration, TrainingRun, Trial

pytestmark = pytest.mark.django_db


@pytest.fixture
def slot():
    return promotion.ensure_slot("main", deployment=make_deployment("steady"))


def on_trial(slot, name: str) -> Deployment:
    deployment = make_deployment(name)
    promotion.put_on_trial(slot, deployment, traffic=10, expected_generation=slot.generation)
    return deployment


def choose(winner: Deployment, loser: Deployment, *, times: int) -> None:
    for _number in range(times):
        make_comparison(make_conversation(), picked_by=winner, other_by=loser)


def standing_of(slot, deployment: Deployment) -> dict[str, str]:
    return {each.name: each.standing for each in evidence_for(slot, deployment).conditions}


def test_a_gain_that_only_one_look_would_take_for_one_is_not_enough(slot):
    steady, new = Deployment.objects.get(name="steady"), on_trial(slot, "new")
    choose(new, steady, times=62)
    choose(steady, new, times=38)  # an ordinary 95 % interval is all above 0

    found = evidence_for(slot, new)

    assert standing_of(slot, new)["helpful gain, lower bound"] == "not_met"
    figures = found.figures["helpful"]
    assert figures["n"] == 100
    assert figures["elo"] == pytest.approx(85.0, abs=0.1)
    assert figures["low"] < 0 < figures["elo"] < figures["high"]


def test_everybody_who_may_be_promoted_shares_the_chance_of_error(slot):
    steady, new = Deployment.objects.get(name="steady"), on_trial(slot, "new")
    choose(new, steady, times=67)
    choose(steady, new, times=33)
    alone = evidence_for(slot, new)
    assert standing_of(slot, new)["helpful gain, lower bound"] == "met"

    for name in ("second", "third"):
        on_trial(slot, name)
    promotion.retire(
        slot, Deployment.objects.get(name="third"), expected_generation=slot.generation
    )  # it had its chance

    assert candidates(slot, new) == 3
    shared = evidence_for(slot, new)
    assert shared.figures["helpful"]["chance"] == pytest.approx(0.025 / 3)
    assert shared.figures["helpful"]["low"] < alone.figures["helpful"]["low"]
    assert standing_of(slot, new)["helpful gain, lower bound"] == "not_met"


def test_policies_that_are_not_trained_yet_have_their_share_too(slot):
    first = on_trial(slot, "first")
    iteration = Iteration.objects.create(number=1, slot=slot, settings={"policy_seeds": [0, 1, 2]})
    run = TrainingRun.objects.create(kind="ppo", config={}, iteration=iteration)
    Trial.objects.create(run=run, deployment=first, slot=slot)

    assert candidates(slot, first) == 3


def test_after_a_promotion_the_count_of_candidates_begins_anew(slot):
    first = on_trial(slot, "first")
    promotion.promote(
        slot, first, evidence=evidence_for(slot, first), expected_generation=slot.generation,
        is_forced=True, reason="for the test",
    )  # fmt: skip

    second = on_trial(slot, "second")

    assert candidates(slot, second) == 1


def test_those_whom_a_promotion_leaves_on_trial_go_on_sharing_the_chance(slot):
    first, second, third = (on_trial(slot, name) for name in ("first", "second", "third"))
    promotion.promote(
        slot, first, evidence=evidence_for(slot, first), expected_generation=slot.generation,
        is_forced=True, reason="for the test",
    )  # fmt: skip

    fourth = on_trial(slot, "fourth")
    promotion.retire(slot, third, expected_generation=slot.generation)  # it had its chance

    assert [candidates(slot, each) for each in (second, fourth)] == [3, 3]


def test_who_never_lost_has_a_bound_and_no_number_of_the_prior(slot):
    steady, new = Deployment.objects.get(name="steady"), on_trial(slot, "new")
    choose(new, steady, times=100)

    gain = evidence_for(slot, new).figures["helpful"]

    assert (gain["elo"], gain["high"]) == (None, None)
    assert 0 < gain["low"] < 1000
    assert standing_of(slot, new)["helpful gain, lower bound"] == "met"


def test_a_hundred_choices_of_one_conversation_are_too_few(slot):
    steady, new = Deployment.objects.get(name="steady"), on_trial(slot, "new")
    conversation = make_conversation()
    for _number in range(100):
        make_comparison(conversation, picked_by=new, other_by=steady)

    assert Comparison.objects.count() == 100
    assert standing_of(slot, new)["helpful gain, lower bound"] == "too_few"
