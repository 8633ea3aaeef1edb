"""What the lab's pages show of runs and checkpoints.

Reads only: rows, and the files a run's process wrote.
"""

import json
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet
from django.utils.timezone import now

from comparisons.models import DatasetRelease
from modelserving.models import Checkpoint
from training import run_files
from training.config import presets, to_dict
from training.models import TrainingRun
from training.report import plots, rankings, recorded
from training.report.rankings import RankingPage

HEADLINES = {  # kind -> (key in results, words)
    "preference_model": ("test_accuracy", "test accuracy"),
    "preference_pretraining": ("test_accuracy", "test accuracy"),
    "ppo": ("gain", "score gain on held-out prompts"),
    "language_model": ("held_out_loss", "held-out loss"),
    "context_distillation": ("held_out_kl", "held-out KL"),
}
SHARES = {"comparisons", "questions"}  # suites whose headline is a share that came out right
CALIBRATION_ERROR = "expected_calibration_error"
MOST_COMPARED = 6  # lines that one picture can hold
MOST_DIGITS = 7  # of a page number in an address
STALLED_AFTER = 20  # seconds without a sign of life


@dataclass(frozen=True, kw_only=True)
class RunLine:
    """One run as a row of a list."""

    run: TrainingRun
    words: str  # state and why
    headline: str
    percent: int | None
    left: str


def runs(*, kind: str = "", state: str = "") -> QuerySet[TrainingRun]:
    """Runs, newest first."""
    found = TrainingRun.objects.select_related("release", "checkpoint", "ranker", "initial")
    if kind:
        found = found.filter(kind=kind)
    return found.filter(state=state) if state else found


def runs_called(reference: str) -> list[TrainingRun]:
    """Runs of this number, or whose id begins so; two at most."""
    if reference.isdecimal() and len(reference) < MOST_DIGITS:
        return list(TrainingRun.objects.filter(pk=int(reference)))
    wanted = reference.lower().replace("-", "")
    ids = TrainingRun.objects.values_list("pk", "public_id")
    found = [pk for pk, each in ids.iterator() if wanted and each.hex.startswith(wanted)][:2]
    return list(TrainingRun.objects.filter(pk__in=found))


def going() -> QuerySet[TrainingRun]:
    """Runs that wait or train."""
    return runs().filter(state__in=(TrainingRun.State.QUEUED, TrainingRun.State.RUNNING))


def line(run: TrainingRun) -> RunLine:
    """The run as a row: a state word with its reason, one figure with its interval."""
    return RunLine(
        run=run,
        words=state_words(run),
        headline=headline(run),
        percent=percent(run),
        left=time_left(run),
    )


def state_words(run: TrainingRun) -> str:
    """The state as a word, with its reason where it has one."""
    word = str(run.get_state_display())
    if run.state == TrainingRun.State.RUNNING and is_stalled(run):
        word = "stalled: no sign of life"
    return f"{word}: {run.reason}" if run.reason else word


def is_stalled(run: TrainingRun) -> bool:
    """Whether the worker of a running run went silent."""
    return run.heartbeat_at is None or (now() - run.heartbeat_at).total_seconds() > STALLED_AFTER


def percent(run: TrainingRun) -> int | None:
    """Share of the steps done."""
    step, total = run.progress.get("step"), run.progress.get("total_steps")
    return min(100, int(100 * step / total)) if total and step is not None else None


def time_left(run: TrainingRun) -> str:
    """The child's own estimate in words."""
    seconds = run.progress.get("seconds_left")
    if run.state != TrainingRun.State.RUNNING or seconds is None:
        return ""
    return "less than a minute left" if seconds < 60 else f"about {round(seconds / 60)} min left"


def headline(run: TrainingRun) -> str:
    """The one figure of the kind, with interval and n."""
    key, words = HEADLINES.get(run.kind, ("", ""))
    if not key:  # the first measured number stands for the run
        key = next((name for name, value in run.results.items() if isinstance(value, dict)), "")
        words = key.replace("_", " ")
    return f"{words} {figure(run.results[key], key=key)}" if key in run.results else ""


def figure(value: Any, *, key: str) -> str:
    """A result as text: percent for accuracies, interval and n where it has them."""
    if not isinstance(value, dict):
        return f"{value:.4g}" if isinstance(value, float) else str(value)
    if "value" not in value:
        parts = (f"{n.replace('_', ' ')} {figure(v, key=n)}" for n, v in value.items())
        return ", ".join(parts) or "none"
    is_share = "accuracy" in key or key in SHARES

    def show(number: float) -> str:
        return f"{100 * number:.1f} %" if is_share else f"{number:.3g}"

    text = show(value["value"])
    if value.get("low") is not None and value.get("high") is not None:
        text += f" ({show(value['low'])} to {show(value['high'])})"
    return f"{text}, n={value['n']:,}" if value.get("n") else text


def results(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Every headline number of a run or checkpoint as (words, text)."""
    return [
        (key.replace("_", " "), figure(value, key=key) + _n_of_calibration(key, found=found))
        for key, value in found.items()
    ]


def _n_of_calibration(key: str, *, found: Mapping[str, Any]) -> str:
    """A calibration error stands alone in the files: it is of the comparisons that the accuracy beside it is of."""
    prefix = key.removesuffix(CALIBRATION_ERROR)
    beside = found.get(f"{prefix}test_accuracy") or found.get(f"{prefix}accuracy")
    has_n = key.endswith(CALIBRATION_ERROR) and isinstance(beside, dict) and beside.get("n")
    return f", n={beside['n']:,}" if has_n else ""


def evaluation(run: TrainingRun) -> dict[str, Any]:
    """evaluation.json of the run; empty where there is none."""
    return recorded.evaluation(run_files.directory_of(run))


def samples(run: TrainingRun, *, most: int = 12) -> list[dict[str, Any]]:
    """The newest samples the run wrote: prompt as messages, response, score, and whatever else there is."""
    rows = run_files.last_rows(run_files.directory_of(run) / "samples.jsonl", most=most)
    return [_sample(row) for row in rows[::-1]]


def _sample(row: dict[str, Any]) -> dict[str, Any]:
    prompt = row.get("prompt", [])
    messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    known = ("step", "time", "prompt", "response", "score", "ended")
    shown = {key: row.get(key) for key in ("step", "response", "score", "ended")}
    return shown | {"messages": messages, "rest": {k: v for k, v in row.items() if k not in known}}


def medians(run: TrainingRun, *, page: str) -> RankingPage | None:
    """Rankings of a best-of-k run for the page of this number; None where it has none there."""
    number = int(page) if page.isdecimal() and len(page) < MOST_DIGITS else 1
    return rankings.page(run_files.directory_of(run), number=number)


def median_rows(run: TrainingRun) -> Iterator[dict[str, Any]]:
    """The median response to each prompt of a best-of-k run, as lines of its download."""
    return (each.median_row() for each in rankings.rankings(run_files.directory_of(run)))


def figure_of(run: TrainingRun, name: str) -> str | None:
    """A figure as SVG: the one kept when the run ended, or one drawn from its rows now."""
    directory = run_files.directory_of(run)
    kept = directory / "plots" / f"{name}.svg"
    if run.finished_at is not None and kept.is_file():
        return kept.read_text(encoding="utf-8")
    return plots.draw(name, directory=directory)


def settings_of(public_id: str, *, kind: str) -> tuple[dict[str, Any], dict[str, str]]:
    """An earlier run's form values, and the settings that differ from its preset; empty where there is none."""
    try:
        run = TrainingRun.objects.filter(public_id=uuid.UUID(public_id), kind=kind).first()
    except ValueError:
        return {}, {}
    if run is None:
        return {}, {}
    preset = presets(kind).get(run.preset)
    usual = to_dict(preset) if preset else {}
    typed = {
        key: value if isinstance(value, str) else json.dumps(value)
        for key, value in run.config.items()
        if key != "kind" and value != usual.get(key)
    }
    initial = {
        "preset": run.preset, "release": run.release_id, "initial_checkpoint": run.initial_id,
        "ranker": run.ranker_id, "test_pm": run.test_pm_id, "questions": run.questions, "name": run.name,
    }  # fmt: skip
    return initial, typed


def named_inputs(asked: Mapping[str, str]) -> dict[str, Any]:
    """Form values for the release and the preference model that a link to a new run names, where they exist."""
    found = {
        "release": DatasetRelease.objects.filter(name=asked.get("release", "")).first(),
        "ranker": preference_models().filter(hash=asked.get("ranker", "")).first(),
    }
    return {name: each.pk for name, each in found.items() if each is not None}


def picked(public_ids: list[str]) -> list[TrainingRun]:
    """The runs named, oldest first, at most as many as one picture can show."""
    keys = []
    for each in public_ids[:MOST_COMPARED]:
        try:
            keys.append(uuid.UUID(each))
        except ValueError:
            continue
    return list(runs().filter(public_id__in=keys).order_by("pk"))


def side_by_side(found: list[TrainingRun]) -> list[tuple[str, list[str]]]:
    """Rows of a table: state, inputs and every result of each run, then the settings that differ."""
    rows = [
        ("kind", [str(run.get_kind_display()) for run in found]),
        ("state", [state_words(run) for run in found]),
        ("release", [run.release.name if run.release else "–" for run in found]),
        ("against", [str(run.ranker) if run.ranker else "–" for run in found]),
    ]
    for key in dict.fromkeys(name for run in found for name in run.results):
        cells = [figure(run.results[key], key=key) if key in run.results else "–" for run in found]
        rows.append((key.replace("_", " "), cells))
    for key in dict.fromkeys(name for run in found for name in run.config):
        values = [json.dumps(run.config.get(key)) for run in found]
        if len(set(values)) > 1:
            rows.append((key, values))
    return rows


def common_metrics(found: list[TrainingRun]) -> list[str]:
    """Metrics that more than one run wrote, in the order of the first."""
    written = []
    for run in found:
        rows, _ = run_files.rows_after(run_files.directory_of(run) / "metrics.jsonl", limit=20)
        written.append({name: None for row in rows for name in row if "/" in name})
    counts = Counter(name for names in written for name in names)
    return [name for name, count in counts.items() if count > 1]


def waiting_without_worker() -> int:
    """Runs that wait in the queue for longer than a worker needs to take one."""
    queued = TrainingRun.objects.filter(state=TrainingRun.State.QUEUED)
    running = TrainingRun.objects.filter(state=TrainingRun.State.RUNNING).exists()
    return 0 if running else sum((now() - run.created_at).total_seconds() > 60 for run in queued)


def preference_models() -> QuerySet[Checkpoint]:
    """Checkpoints that can rank."""
    return Checkpoint.objects.filter(kind=Checkpoint.Kind.PREFERENCE_MODEL)


def without_the_starter(checkpoints: QuerySet[Checkpoint]) -> QuerySet[Checkpoint]:
    """The others, for lists that offer the one that ships with the project by itself."""
    starter = Checkpoint.objects.filter(origin=Checkpoint.Origin.STARTER).order_by("-pk").first()
    return checkpoints if starter is None else checkpoints.exclude(pk=starter.pk)


def speaking_models() -> QuerySet[Checkpoint]:
    """Checkpoints that can answer."""
    return Checkpoint.objects.exclude(kind=Checkpoint.Kind.PREFERENCE_MODEL)
