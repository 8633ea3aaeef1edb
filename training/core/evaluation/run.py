"""The evaluation run: the held-out measurements that fit one checkpoint.

It does not train anything. A suite is a function of the run; its result goes into evaluation.json under its name.
"""

from collections.abc import Callable, Mapping
from typing import Any

from modelserving.core.adapters import whole_weights
from modelserving.core.architectures import dialogue_format_of
from modelserving.core.artifacts import read_manifest
from modelserving.lm.loading import config_of
from modelserving.lm.positions import positions_of
from training.config import ConfigError, EvaluationConfig
from training.core.evaluation.elo import elo_beside_scores, too_few_models
from training.core.evaluation.openings import read_openings, too_few
from training.core.evaluation.out_of_distribution import out_of_distribution
from training.core.evaluation.policies import heldout_score, logprob_accuracy, response_loss
from training.core.evaluation.questions import likeliest_answers, preferred_answers
from training.core.evaluation.scorers import comparison_accuracy
from training.core.outcome import Outcome
from training.core.prompts import FEWEST_PROMPT_TOKENS
from training.core.run_directory import RunDirectory
from training.core.seeding import prepare

Suite = Callable[[RunDirectory, EvaluationConfig], dict[str, Any]]

SCORER_SUITES: Mapping[str, Suite] = {
    "comparisons": comparison_accuracy,
    "elo": elo_beside_scores,
    "questions": preferred_answers,
}
POLICY_SUITES: Mapping[str, Suite] = {
    "logprob_accuracy": logprob_accuracy,
    "response_loss": response_loss,
    "heldout_score": heldout_score,
    "out_of_distribution": out_of_distribution,
    "questions": likeliest_answers,
}


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
            run.write_json("evaluation.json", done)  # what is done can be read while others run
    run.progress(len(suites), len(suites), "done")
    return Outcome(state="done", step=len(suites), results=_headlines(done))


def chosen_suites(run: RunDirectory, config: EvaluationConfig) -> dict[str, Suite]:
    """The suites asked for, or all that the checkpoint's kind and the inputs allow."""
    kind = read_manifest(run.inputs("initial")).kind
    fitting = dict(SCORER_SUITES if kind == "preference_model" else POLICY_SUITES)
    unknown = sorted(set(config.suites) - set(fitting))
    if unknown:
        raise ConfigError(f"suites {unknown} do not fit a {kind}: choose from {', '.join(fitting)}")
    asked = config.suites or tuple(fitting)
    missing = {name: why for name in asked if (why := _missing(name, run=run, config=config))}
    if config.suites:
        if missing:
            raise ConfigError(
                "; ".join(f"{name} cannot be run: {missing[name]}" for name in missing)
            )
        return {name: fitting[name] for name in config.suites}
    for name, why in missing.items():
        run.log(f"{name} is left out: {why}")
    return {name: suite for name, suite in fitting.items() if name not in missing}


def _missing(name: str, *, run: RunDirectory, config: EvaluationConfig) -> str:
    """What a suite lacks in this run's inputs; empty when it can be run."""
    if name == "heldout_score" and not run.has_input("ranker"):
        return "there is no ranker: choose a preference model that scores"
    if name == "heldout_score":
        return _without_room(run, config=config)
    if name == "questions" and not run.has_input("questions"):
        return "there is no question set: choose one"
    if name == "elo":
        return too_few_models(run.inputs("release"), most=config.max_examples)
    if name == "out_of_distribution":
        return too_few(read_openings(run.inputs("release"), most=config.max_examples))
    return ""


def _without_room(run: RunDirectory, *, config: EvaluationConfig) -> str:
    """Why responses of this length leave no room for prompts; empty when they do."""
    directory = whole_weights(run.inputs("initial"))
    context = dialogue_format_of(directory).context_tokens
    context = min(context, positions_of(config_of(directory)) or context)
    if context - config.max_response_tokens >= FEWEST_PROMPT_TOKENS:
        return ""
    return (
        f"max_response_tokens {config.max_response_tokens} leaves no room for a prompt within the "
        f"policy's {context} tokens: lower it to {context - FEWEST_PROMPT_TOKENS} or less"
    )


def _headlines(done: Mapping[str, Any]) -> dict[str, Any]:
    return {name: found["headline"] for name, found in done.items()}
