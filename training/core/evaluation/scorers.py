"""Suites for preference models.

It does not know how a run is started or how models are trained.
"""

from typing import Any

from modelserving.lm.loading import load_preference_model
from training.config import EvaluationConfig
from training.core.evaluation.preference import judge, report
from training.core.preference_sets import held_out_comparisons
from training.core.run_directory import RunDirectory
from training.core.seeding import prepare
from training.core.sharding import loading, shard, whole


def comparison_accuracy(run: RunDirectory, config: EvaluationConfig) -> dict[str, Any]:
    """Accuracy, calibration and breakdowns on the release's test split."""
    prepare(config)
    how = loading(config, ranks=run.ranks, is_trained=False)
    model = load_preference_model(run.inputs("initial"), **how)
    shard(model.model, config=config, ranks=run.ranks)
    comparisons = held_out_comparisons(
        run.inputs("release"),
        encoder=model.tokenizer,
        layout=model.dialogue_format,
        most=config.max_examples,
    )
    with whole(model.model):
        judged = judge(model.model, comparisons, ranks=run.ranks)
    found = report(judged, bootstrap_samples=config.bootstrap_samples, seed=config.seed)
    return {"headline": found["accuracy"], **found}
