"""A run's directory as Django sees it: prepare its two inputs, read what the child writes.

Knows paths and JSON; the child alone writes metrics, progress, checkpoints and status.
"""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from django.conf import settings

from comparisons.services import releasing
from modelserving import registry
from modelserving.core.artifacts import (
    ArtefactError,
    content_hash,
    file_sha256,
    read_manifest,
    write_durably,
)
from training.held_out_scores import held_out_scores
from training.models import TrainingRun
from training.question_sets import QuestionsRefused
from training.question_sets import directory_of as questions_named

HELD_OUT_SCORES = "held_out_scores.json"

LAST_PIECE = 2**20  # bytes of a file that are read for its newest rows
LONGEST_NUMBER = 18  # digits of an offset; Python refuses to read thousands


class InputMissing(Exception):
    """A release, checkpoint or question set of the run is not on this machine's disk; the message says which."""


def directory_of(run: TrainingRun) -> Path:
    """The run's directory; it exists from the first attempt on."""
    return Path(settings.ARTEFACTS) / "runs" / str(run.public_id)


def prepare(run: TrainingRun) -> Path:
    """Make the directory, or make it ready for one more attempt; what was trained stays."""
    path = directory_of(run)
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_durably(path / "config.json", json.dumps(run.config, indent=2) + "\n")
    write_durably(path / "inputs.json", json.dumps(_inputs(run, path), indent=2) + "\n")
    for leftover in ("status.json", "stop.json", "progress.json"):
        (path / leftover).unlink(missing_ok=True)
    return path


def ask_to_stop(path: Path) -> None:
    """Leave the note that the child looks for between steps."""
    (path / "stop.json").write_text("{}\n", encoding="utf-8")


def read_object(path: Path) -> dict[str, Any]:
    """A JSON object the child wrote; empty while it is not there or half written."""
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return {}
    return stored if isinstance(stored, dict) else {}


def offset_of(text: str) -> int:
    """A byte offset as an address says it; 0 for anything else."""
    is_number = text.isdecimal() and len(text) <= LONGEST_NUMBER
    return int(text) if is_number else 0


def rows_after(
    path: Path, *, offset: int = 0, limit: int = 2000
) -> tuple[list[dict[str, Any]], int]:
    """Whole JSONL rows from a byte offset on, and the offset to ask for next."""
    rows: list[dict[str, Any]] = []
    try:
        with path.open("rb") as stream:
            if offset > os.fstat(stream.fileno()).st_size:
                offset = 0  # the file was cut by a resume: begin anew
            stream.seek(offset)
            for line in stream:
                if not line.endswith(b"\n") or len(rows) == limit:
                    break
                offset += len(line)
                rows.extend(_row(line))
    except FileNotFoundError:
        return [], 0
    return rows, offset


def last_rows(path: Path, *, most: int) -> list[dict[str, Any]]:
    """The newest whole JSONL rows, oldest first, of the file's last piece."""
    try:
        with path.open("rb") as stream:
            begins = max(0, os.fstat(stream.fileno()).st_size - LAST_PIECE)
            stream.seek(begins)
            lines = stream.read().splitlines(keepends=True)
    except FileNotFoundError:
        return []
    whole = [line for line in lines[bool(begins) :] if line.endswith(b"\n")]
    return [row for line in whole[-most:] for row in _row(line)]


def tail(path: Path, *, lines: int = 50) -> list[str]:
    """The last lines of a text file."""
    try:
        with path.open("rb") as stream:
            stream.seek(0, os.SEEK_END)
            stream.seek(max(0, stream.tell() - 200 * lines))
            return stream.read().decode("utf-8", "replace").splitlines()[-lines:]
    except FileNotFoundError:
        return []


def _row(line: bytes) -> Iterator[dict[str, Any]]:
    try:
        row = json.loads(line)
    except ValueError:
        return
    if isinstance(row, dict):
        yield row


def _inputs(run: TrainingRun, path: Path) -> Mapping[str, dict[str, str]]:
    """Role to relative path and content hash; the child verifies every byte before step 0."""
    places: dict[str, Path] = {}
    if run.release is not None:
        places["release"] = releasing.directory_of(run.release)
    for role in ("initial", "ranker", "test_pm"):
        checkpoint = getattr(run, role)
        if checkpoint is not None:
            places[role] = registry.directory_of(checkpoint)
    if run.questions:
        places["questions"] = _questions(run.questions)
    inputs = {role: _reference(role, place, path) for role, place in places.items()}
    if scores := held_out_scores(run):
        kept = path / HELD_OUT_SCORES
        write_durably(kept, json.dumps(scores, indent=2) + "\n")
        inputs["held_out_scores"] = {"path": kept.name, "sha256": file_sha256(kept)}
    return inputs


def _questions(name: str) -> Path:
    try:
        return questions_named(name)
    except QuestionsRefused as gone:
        raise InputMissing(f"the questions cannot be used: {gone}") from gone


def _reference(role: str, place: Path, run_directory: Path) -> dict[str, str]:
    try:
        digest = content_hash(read_manifest(place))
    except ArtefactError as damaged:
        raise InputMissing(f"the {role} cannot be used: {damaged}") from damaged
    return {"path": os.path.relpath(place, run_directory), "sha256": digest}
