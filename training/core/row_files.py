"""JSONL files of a run: they grow by whole rows, and a crash in the middle of one costs that row alone.

It does not know what a row says, but for the step that rows of metrics and samples carry.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from modelserving.core.artifacts import write_durably


def append_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Add rows in one write: a crash leaves all of them or, but for a torn write, none."""
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    with path.open("a", encoding="utf-8") as handle:
        handle.write(lines)


def whole_lines(path: Path) -> list[str]:
    """Lines that parse; a crash may have cut the last one."""
    if not path.exists():
        return []
    lines = []
    for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):
        try:
            json.loads(line)
        except ValueError:
            continue
        lines.append(line)
    return lines


def keep_lines(path: Path, lines: Iterable[str]) -> None:
    """Replace the file by these lines at once."""
    write_durably(path, "".join(line + "\n" for line in lines))


def drop_rows(path: Path, *, after: int) -> None:
    """Drop rows of later steps than this one, and a row that was cut."""
    if path.exists():
        keep_lines(path, [line for line in whole_lines(path) if json.loads(line)["step"] <= after])
