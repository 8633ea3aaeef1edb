"""The rows of a release: each kept comparison written into the files of its split, and counted.

Knows files and splits; knows nothing of a release's name or state.
"""

from collections import Counter
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path
from typing import Any

from comparisons.core.splits import split_of
from comparisons.formats.lines import gzip_writer, line_of
from comparisons.formats.parquet import parquet_writer
from comparisons.formats.rich import ComparisonRow
from comparisons.queries.releases import ReleaseFilters, kept_rows

SPLITS = ("train", "test")


class RowCounts:
    """How much went into each split."""

    def __init__(self) -> None:
        self.rows: Counter[str] = Counter()
        self._groups: Counter[tuple[str, str, str]] = Counter()
        self._conversations: dict[str, set[bytes]] = {split: set() for split in SPLITS}

    def add(self, row: ComparisonRow, *, split: str) -> None:
        """Count one row."""
        self.rows[split] += 1
        self._groups[row.objective, row.tranche, split] += 1
        self._conversations[split].add(sha256(row.conversation.encode()).digest()[:12])

    def to_dict(self) -> dict[str, Any]:
        """As a release's row and manifest store them."""
        by = sorted({(objective, tranche) for objective, tranche, _split in self._groups})
        return {
            **{split: self.rows[split] for split in SPLITS},
            "conversations": {split: len(self._conversations[split]) for split in SPLITS},
            "by": [
                {"objective": objective, "tranche": tranche}
                | {split: self._groups[objective, tranche, split] for split in SPLITS}
                for objective, tranche in by
            ],
        }


def write_rows(
    directory: Path, *, filters: ReleaseFilters, test_percent: int
) -> tuple[dict[str, Any], list[tuple[int, str]]]:
    """Stream every kept row into the files of its split; returns counts and (comparison, split)."""
    counts = RowCounts()
    members: list[tuple[int, str]] = []
    with ExitStack() as stack:
        lines = {
            split: stack.enter_context(gzip_writer(directory / f"{split}.jsonl.gz"))
            for split in SPLITS
        }
        tables = {
            split: stack.enter_context(parquet_writer(directory / f"{split}.parquet"))
            for split in SPLITS
        }
        for key, row in kept_rows(filters):
            split = split_of(row.messages[0]["content"], test_percent=test_percent)
            record = row.to_dict()
            lines[split].write(line_of(record))
            tables[split](record)
            counts.add(row, split=split)
            members.append((key, split))
    return counts.to_dict(), members
