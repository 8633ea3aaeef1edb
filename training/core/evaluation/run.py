"""The evaluation run: the held-out measurements that fit one checkpoint.

It does not train anything. A suite is a function of the run; its result goes into evaluation.json under its name.
"""

from collections.abc import Callable, Mapping
from typing import Any

from modelserving.core.artifacts import read_manifest
from training.config import ConfigError, EvaluationConfig
from training.core.evaluation.policies import heldout_score, logprob_accuracy, response_loss
from training.core.evaluation.scorers import comparison_accuracy
from training.core.outcome import Outcome
from training.core.run_directory import RunDirectory
from training.core.seeding import prepare

Suite = Callable[[RunDirectory, EvaluationConfig], dict[str, Any]]

SCORER_SUITES: Mapping[str, Suite] = {"comparisons": comparison_accuracy}
POLICY_SUITES: Mapping[str, Suite] = {
    "logprob_accuracy": logprob_accuracy,
    "response_loss": response_loss,
    "heldout_score": heldout_score,
}
NEEDS_RANKER = ("heldout_score",)


def train(run: RunDirectory, config: EvaluationConfig) -> Outcome:
    """Run every suite that was asked for and write evaluation.json; finished suites are kept on resuming."""
    prepare(config)
    suites = chosen_suites(run, config)
    done: dict[str, Any] = {row["suite"]: row["found"] for row in run.rows("suites.jsonl")}
    run.ranks.wait()  # every rank has read them
    for step, (name, suite) in enumerate(suites.items()):
        if halt := run.agreed_halt():
            state = "interrupted" if halt == "interrupt" else "stopped"
            return Outcome(state=state, step=step, results=_headlines(done))
        run.progress(step, len(suites), name)
        if name not in done:
            done[name] = suite(run, config)
            run.append_row("suites.jsonl", {"suite": name, "found": done[name]})
    run.write_json("evaluation.json", done)
    run.progress(len(suites), len(suites), "done")
    return Outcome(state="done", step=len(suites), results=_headlines(done))


def chosen_suites(run: RunDirectory, config: EvaluationConfig) -> dict[str, Suite]:
    """The suites by name that fit the checkpoint's kind and the inputs."""
    kind = read_manifest(run.inputs("initial")).kind
    fitting = dict(SCORER_SUITES if kind == "preference_model" else POLICY_SUITES)
    unknown = sorted(set(config.suites) - set(fitting))
    if unknown:
        raise ConfigError(f"suites {unknown} do not fit a {kind}: choose from {', '.join(fitting)}")
    if config.suites:
        return {name: fitting[name] for name in config.suites}
    return {
        name: suite
        for name, suite in fitting.items()
        if name not in NEEDS_RANKER or run.has_input("ranker")
    }


def _headlines(done: Mapping[str, Any]) -> dict[str, Any]:
    return {name: found["headline"] for name, found in done.items()}
