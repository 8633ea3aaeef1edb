"""The suite that sets a preference model's scores beside the crowd's Elo (Bai et al. 2022, B.4, fig. 15).

It does not know deployments: a model is the checkpoint that a row of the release names. What a preference model took
from several samples is left out: the crowd's choice then says nothing of the checkpoint alone.
"""

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from comparisons.core.transcript import chosen_and_rejected
from modelserving.lm.loading import load_preference_model
from training.config import EvaluationConfig, PreferenceModelConfig
from training.core.batching import encode_comparison
from training.core.data import ReleaseRow, read_release
from training.core.evaluation.elo_curves import Duel, Scores, elo_curves, mean_gap
from training.core.evaluation.preference import judge
from training.core.outcome import NonFinite
from training.core.preference_sets import reason_to_leave_out, stable_order
from training.core.run_directory import RunDirectory
from training.core.seeding import prepare
from training.core.sharding import loading, shard, whole

LEAST_CHOICES = 20  # of a model: fewer say nothing of its strength
HELD_OUT_SCORES = "held_out_scores"  # the input: mean scores that other runs recorded


def elo_beside_scores(run: RunDirectory, config: EvaluationConfig) -> dict[str, Any]:
    """The crowd's Elo of the models in the test split and three predictions of it, for each objective alone."""
    prepare(config)
    release = run.inputs("release")
    rows = compared_rows(release, most=config.max_examples)
    held_out_scores = _held_out_scores(run)
    duels = _judged(run, config, rows)
    found = {
        objective: elo_curves(
            [duel for duel, row in zip(duels, rows, strict=True) if row.objective == objective],
            held_out_scores=_of_objective(held_out_scores, objective),
            samples=config.bootstrap_samples,
            seed=config.seed,
        )
        for objective in sorted({row.objective for row in rows})
    }
    parts = list(found.values())
    headline: dict[str, Any] = {
        "models": len({each["model"] for part in parts for each in part["models"]}),
        "choices": sum(part["choices"] for part in parts),
    }
    for name, curve in (("gap_of_picks", "picks"), ("gap_of_mean_scores", "scores")):
        if (gap := mean_gap(parts, curve=curve)) is not None:
            headline[name] = gap
    return {"headline": headline, "by_objective": found}


def too_few_models(release: Path, *, most: int) -> str:
    """What the release's test split lacks for this suite; empty when two models have enough choices."""
    if compared_rows(release, most=most):
        return ""
    between, every = _between_models(release), read_release(release, "test")
    ranked = sum(max(row.best_of) > 1 for row in every)
    models = Counter((model[:8], row.objective) for row in between for model in _models(row))
    found = ", ".join(
        f"{model} {count} {objective}" for (model, objective), count in models.items()
    )
    return (
        f"elo needs two models of one objective with {LEAST_CHOICES} of the crowd's sure choices each: {len(between)}"
        f" of {len(every)} test comparisons are between two models ({found or 'none is named'}; {ranked} hold a"
        " best of several samples, and are left out); "
        + (
            f"raise max_examples, now {most}, "
            if len(between) > most
            else "cut a release with a larger test share, "
        )
        + "or collect more comparisons between the models"
    )


def compared_rows(release: Path, *, most: int) -> list[ReleaseRow]:
    """The crowd's sure choices between two models of which each has enough, objective by objective."""
    between = _between_models(release)[:most]
    objectives = sorted({row.objective for row in between})
    parts = [[row for row in between if row.objective == each] for each in objectives]
    return [row for part in parts for row in _often_compared(part)]


def _between_models(release: Path) -> list[ReleaseRow]:
    """Held-out rows alone: a preference model knows the crowd's picks of its own training split."""
    usual = PreferenceModelConfig()
    rows = [
        row
        for row in read_release(release, "test")
        if reason_to_leave_out(row, config=usual) is None
        and row.origin == "crowd"
        and None not in (row.picked_checkpoint, row.other_checkpoint)
        and row.picked_checkpoint != row.other_checkpoint
        and max(row.best_of) == 1
    ]
    return sorted(rows, key=lambda row: stable_order(row.comparison))


def _models(row: ReleaseRow) -> tuple[str, str]:
    """The models of the better and the worse response, as training reads the choice."""
    return chosen_and_rejected(
        question=row.question,
        picked=row.picked_checkpoint or "",
        other=row.other_checkpoint or "",
    )


def _often_compared(rows: Sequence[ReleaseRow]) -> list[ReleaseRow]:
    """Rows whose models have enough choices among the rows that are left."""
    kept = list(rows)
    while True:
        choices = Counter(model for row in kept for model in _models(row))
        fewer = [
            row for row in kept if all(choices[model] >= LEAST_CHOICES for model in _models(row))
        ]
        if len(fewer) == len(kept):
            return kept
        kept = fewer


def _held_out_scores(run: RunDirectory) -> Mapping[str, Any]:
    if not run.has_input(HELD_OUT_SCORES):
        return {}
    scores: Mapping[str, Any] = json.loads(run.inputs(HELD_OUT_SCORES).read_text(encoding="utf-8"))
    return scores


def _of_objective(scores: Mapping[str, Any], objective: str) -> Scores:
    """Each model's mean over the prompts of one objective: over all of them it would predict neither."""
    return {
        model: found["by_objective"][objective] | {"from": found["from"]}
        for model, found in scores.items()
        if objective in found["by_objective"]
    }


def _judged(run: RunDirectory, config: EvaluationConfig, rows: Sequence[ReleaseRow]) -> list[Duel]:
    how = loading(config, ranks=run.ranks, is_trained=False)
    model = load_preference_model(run.inputs("initial"), **how)
    shard(model.model, config=config, ranks=run.ranks)
    comparisons = [
        encode_comparison(row, encoder=model.tokenizer, layout=model.dialogue_format)
        for row in rows
    ]
    with whole(model.model):
        judged = judge(model.model, comparisons, ranks=run.ranks)
    if not all(math.isfinite(each.chosen + each.rejected) for each in judged):
        raise NonFinite("a score", step=0)
    duels = []
    for row, scored in zip(rows, judged, strict=True):
        better, worse = _models(row)
        duels.append(
            Duel(
                better=better,
                worse=worse,
                better_score=scored.chosen,
                worse_score=scored.rejected,
                conversation=row.conversation,
            )
        )
    return duels
