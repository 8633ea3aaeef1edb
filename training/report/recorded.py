"""What a run recorded, read back from its directory for drawing.

Knows file names and JSON; knows neither rows of the database nor figures.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

COMPARISONS = "comparisons"  # the suite of an evaluation run that reports as a PM run does
WITH_FIGURES = (COMPARISONS, "out_of_distribution", "questions")  # suites that found what is drawn


def metrics(directory: Path) -> list[dict[str, Any]]:
    """Whole rows of metrics.jsonl, in order; a half-written last line is left out."""
    path = directory / "metrics.jsonl"
    return list(_rows(path)) if path.is_file() else []


def evaluation(directory: Path) -> dict[str, Any]:
    """evaluation.json with what suites with figures found beside their names; empty where the run has none yet."""
    try:
        stored = json.loads((directory / "evaluation.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    if not isinstance(stored, dict):
        return {}
    for suite in WITH_FIGURES:
        stored = {**stored, **stored.get(suite, {})}
    return stored


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as stream:
        for line in stream:
            if not line.endswith("\n"):
                return
            try:
                row = json.loads(line)
            except ValueError:
                continue
            if isinstance(row, dict) and "step" in row:
                yield row
