"""What a policy's own run must not have shown for the policy to be promoted (I12), beside the crowd's choices.

Knows runs and their results; a checkpoint that no run here made has none to read, and so no gates.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from modelserving.core.evidence import Condition, at_least
from modelserving.models import Checkpoint, Deployment
from training.models import TrainingRun

LEAST_ACCURACY = 50.0  # percent: a preference model that a coin matches has taught nothing
LEAST_GAIN = 0.0  # score: held-out prompts may not all but certainly be answered worse than before
AS_TEST_PM = "test_pm_test_accuracy"  # so a run on disjoint halves calls it for the other model
BY_A_PERSON = "asked to stop"  # as the trainer says it in a run's reason


def run_gates(candidate: Deployment) -> tuple[Condition, ...]:
    """Conditions on the policy's PPO run and on the preference model it was trained against."""
    checkpoint = candidate.checkpoint
    if checkpoint is None or checkpoint.run is None:
        return ()
    run = TrainingRun.objects.filter(public_id=checkpoint.run).select_related("ranker").first()
    if run is None or run.kind != TrainingRun.Kind.PPO:
        return ()
    return (_ended(run), _gain(checkpoint), *_accuracy(run))


def _ended(run: TrainingRun) -> Condition:
    """Neither a KL bound nor a diverging test PM ended it, nor what is not finite; a person may have."""
    by_a_person = run.is_stop_requested and run.reason.startswith(BY_A_PERSON)
    is_within = run.state == TrainingRun.State.DONE or by_a_person
    return Condition(
        name="run ended within its bounds", standing="met" if is_within else "not_met",
        says="" if is_within else run.reason or run.get_state_display(),
    )  # fmt: skip


def _gain(checkpoint: Checkpoint) -> Condition:
    """By the PM that it was not trained against, where there is one: that one is not flattered."""
    results = checkpoint.results
    by_test, by_own = results.get("test_pm_gain"), results.get("gain")
    measured = by_test if isinstance(by_test, Mapping) else by_own
    judge = "the test PM" if isinstance(by_test, Mapping) else "its PM"
    return at_least(
        f"score gain on held-out prompts by {judge}, upper bound",
        found=_number(measured, "high"), bound=LEAST_GAIN, n=int(_number(measured, "n") or 0),
    )  # fmt: skip


def _accuracy(run: TrainingRun) -> Iterator[Condition]:
    if run.ranker is None or run.ranker.origin != Checkpoint.Origin.TRAINED:
        return
    results = run.ranker.results
    measured = results.get("test_accuracy") or results.get(AS_TEST_PM)
    low = _number(measured, "low")
    yield at_least(
        "test accuracy of its PM in percent, lower bound",
        found=None if low is None else 100 * low, bound=LEAST_ACCURACY,
        n=int(_number(measured, "n") or 0),
    )  # fmt: skip


def _number(measured: Any, key: str) -> float | None:
    value = measured.get(key) if isinstance(measured, Mapping) else None
    return float(value) if isinstance(value, int | float) else None
