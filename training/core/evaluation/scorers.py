"""Suites for preference models.

It does not know how a run is started or how models are trained.
"""

from typing import Any

from modelserving.lm.loading import load_preference_model
from training.config import EvaluationConfig, PreferenceModelConfig
from training.core.batching import encode_comparison
from training.core.data import read_release
from training.core.evaluation.preference import judge, report
from training.core.preference_sets import reason_to_leave_out, stable_order
from training.core.run_directory import RunDirectory
from training.core.seeding import prepare
from training.core.sharding import loading, shard, whole


def comparison_accuracy(run: RunDirectory, config: EvaluationConfig) -> dict[str, Any]:
    """Accuracy, calibration and breakdowns on the release's test split."""
    prepare(config)
    how = loading(config, ranks=run.ranks, is_trained=False)
    model = load_preference_model(run.inputs("initial"), **how)
    shard(model.model, config=config, ranks=run.ranks)
    rows = [
        row
        for row in read_release(run.inputs("release"), "test")
        if reason_to_leave_out(row, config=PreferenceModelConfig()) is None
    ]
    rows = sorted(rows, key=lambda row: stable_order(row.comparison))[: config.max_examples]
    comparisons = [
        encode_comparison(row, encoder=model.tokenizer, layout=model.dialogue_format)
        for row in rows
    ]
    with whole(model.model):
        judged = judge(model.model, comparisons, ranks=run.ranks)
    found = report(judged, bootstrap_samples=config.bootstrap_samples, seed=config.seed)
    return {"headline": found["accuracy"], **found}
