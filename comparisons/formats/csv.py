"""Comparisons as CSV for spreadsheets: flat columns, no cell that a spreadsheet would run.

An apostrophe stands before what looks like a formula, so analysis reads Parquet instead. Knows the row schema; the
transcript stands in one cell in the HH way, without the newlines it begins with.
"""

import csv
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from comparisons.core.transcript import chosen_and_rejected
from comparisons.formats.hh import render

COLUMNS = (
    "comparison", "conversation", "turn", "prompt", "chosen", "rejected", "question", "objective",
    "strength", "tranche", "origin", "crowdworker",
)  # fmt: skip
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")

Write = Callable[[Mapping[str, Any]], None]


def safe_cell(value: object) -> object:
    """The value, with an apostrophe before what a spreadsheet would read as a formula."""
    if isinstance(value, str) and value.lstrip(" ").startswith(FORMULA_STARTS):
        return "'" + value
    return value


@contextmanager
def csv_writer(path: Path) -> Iterator[Write]:
    """Write rows one by one, in UTF-8 with a header line."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        sheet = csv.writer(stream, lineterminator="\n")
        sheet.writerow(COLUMNS)

        def write(row: Mapping[str, Any]) -> None:
            chosen, rejected = chosen_and_rejected(
                question=row["question"], picked=row["picked"], other=row["other"]
            )
            flat = {
                **row, "prompt": render(row["messages"]).lstrip("\n"), "chosen": chosen, "rejected": rejected,
            }  # fmt: skip
            sheet.writerow([safe_cell(flat.get(column)) for column in COLUMNS])

        yield write
