"""Mean scores that earlier runs recorded, as an input of the run that sets them beside the crowd's Elo.

Reads rows of runs; knows no file and no arithmetic.
"""

from typing import Any

from training.models import TrainingRun

RECORDED = ("heldout_score", "best_of_1_score")  # as an evaluation and a best-of-k run call it


def held_out_scores(run: TrainingRun) -> dict[str, dict[str, Any]]:
    """Of each checkpoint, the newest mean score by this preference model on prompts of the same release, by objective.

    Of responses sampled as this run would, at temperature 1 and of the same length: else their means are of
    different things.
    """
    if run.kind != TrainingRun.Kind.EVALUATION or run.initial is None or run.release_id is None:
        return {}
    found = TrainingRun.objects.filter(
        state=TrainingRun.State.DONE, release_id=run.release_id, ranker_id=run.initial_id
    )
    scores: dict[str, dict[str, Any]] = {}
    for each in found.select_related("initial").order_by("pk"):
        measured = next((each.results[key] for key in RECORDED if key in each.results), {})
        is_alike = each.config.get("temperature", 1.0) == 1.0 and (
            each.config.get("max_response_tokens") == run.config.get("max_response_tokens")
        )
        if is_alike and "by_objective" in measured and each.initial is not None:
            scores[each.initial.hash] = {
                "by_objective": measured["by_objective"],
                "from": f"{each.get_kind_display()} {each.pk}",
            }
    return scores
