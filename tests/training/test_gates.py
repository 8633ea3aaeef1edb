"""What a policy's own run showed keeps it from being promoted, whatever the crowd says of it."""

import pytest

from modelserving import promotion
from modelserving.models import Deployment
from tests.comparisons.making import make_checkpoint, make_deployment
from training.evidence import evidence_for
from training.models import TrainingRun

pytestmark = pytest.mark.django_db
GAIN = {"value": 0.4, "low": 0.1, "high": 0.7, "n": 64}
LOSS = {"value": -0.4, "low": -0.7, "high": -0.1, "n": 64}
ACCURATE = {"value": 0.64, "low": 0.60, "high": 0.68, "n": 618}
GUESSING = {"value": 0.52, "low": 0.48, "high": 0.56, "n": 618}
ENDED = "run ended within its bounds"
OWN = "score gain on held-out prompts by its PM, upper bound"
TEST = "score gain on held-out prompts by the test PM, upper bound"
ACCURACY = "test accuracy of its PM in percent, lower bound"


def gates(
    *, results, accuracy=ACCURATE, state="done", reason="", kind="ppo", is_asked=False,
    measured_as="test_accuracy",
) -> dict[str, str]:  # fmt: skip
    slot = promotion.ensure_slot("main", deployment=make_deployment("steady"))
    pm_results = {measured_as: accuracy} if accuracy else {}
    ranker = make_checkpoint(kind="preference_model", results=pm_results)
    run = TrainingRun.objects.create(
        kind=kind, config={}, ranker=ranker, state=state, reason=reason, is_stop_requested=is_asked
    )
    policy = make_checkpoint(run=run.public_id, results=results)
    candidate = Deployment.objects.create(name="candidate", checkpoint=policy)
    conditions = evidence_for(slot, candidate).conditions
    said = {
        f"{each.name}: says": each.says for each in conditions if each.name == ENDED and each.says
    }
    return {each.name: each.standing for each in conditions} | said


def of_run(found: dict[str, str]) -> dict[str, str]:
    return {
        key: value for key, value in found.items() if key.startswith((ENDED, OWN, TEST, ACCURACY))
    }


def test_a_run_that_ended_well_meets_its_gates():
    assert of_run(gates(results={"gain": GAIN})) == {ENDED: "met", OWN: "met", ACCURACY: "met"}


def test_a_run_that_ended_at_its_kl_bound_does_not():
    reason = "KL 112 over bound 100 at step 318"

    found = of_run(gates(results={"gain": GAIN}, state="stopped", reason=reason))

    assert found == {ENDED: "not_met", f"{ENDED}: says": reason, OWN: "met", ACCURACY: "met"}


@pytest.mark.parametrize(
    ("reason", "standing"),
    [("asked to stop", "met"), ("KL 112 over bound 100 at step 318", "not_met")],
)
def test_a_run_that_a_person_stopped_ended_within_its_bounds(reason, standing):
    found = gates(results={"gain": GAIN}, state="stopped", reason=reason, is_asked=True)

    assert found[ENDED] == standing


def test_the_test_pm_is_asked_where_there_is_one():
    found = of_run(gates(results={"gain": GAIN, "test_pm_gain": LOSS}))

    assert found == {ENDED: "met", TEST: "not_met", ACCURACY: "met"}


def test_a_preference_model_that_guesses_does_not_carry_a_promotion():
    found = of_run(gates(results={"gain": GAIN}, accuracy=GUESSING))

    assert found[ACCURACY] == "not_met"


@pytest.mark.parametrize(("accuracy", "standing"), [(ACCURATE, "met"), (GUESSING, "not_met")])
def test_the_test_pm_of_a_disjoint_run_may_be_the_one_trained_against(accuracy, standing):
    found = gates(results={"gain": GAIN}, accuracy=accuracy, measured_as="test_pm_test_accuracy")

    assert found[ACCURACY] == standing


def test_what_was_not_measured_is_too_few():
    found = of_run(gates(results={}, accuracy=None))

    assert found == {ENDED: "met", OWN: "too_few", ACCURACY: "too_few"}


def test_what_no_ppo_run_made_has_no_such_gates():
    assert of_run(gates(results={}, kind="language_model")) == {}
