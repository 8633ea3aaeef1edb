"""Comparisons as Parquet: one column per field of the rich row, written in row groups.

Knows the row schema and pyarrow; knows neither the database nor releases.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROW_GROUP = 1000

Write = Callable[[Mapping[str, Any]], None]


@contextmanager
def parquet_writer(path: Path, *, has_crowdworker: bool = False) -> Iterator[Write]:
    """Write rows one by one; equal rows give equal bytes under one version of pyarrow."""
    import pyarrow as pa  # noqa: PLC0415 -- slow import
    import pyarrow.parquet as pq  # noqa: PLC0415 -- slow import

    schema = _schema(has_crowdworker=has_crowdworker)
    waiting: list[Mapping[str, Any]] = []
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:

        def flush() -> None:
            if waiting:
                writer.write_table(pa.Table.from_pylist(waiting, schema=schema))
                waiting.clear()

        def write(row: Mapping[str, Any]) -> None:
            waiting.append(row)
            if len(waiting) >= ROW_GROUP:
                flush()

        yield write
        flush()


def _schema(*, has_crowdworker: bool) -> Any:
    import pyarrow as pa  # noqa: PLC0415 -- slow import

    text = pa.string()
    message = pa.struct([("role", text), ("content", text)])
    columns = [
        ("comparison", text),
        ("conversation", text),
        ("turn", pa.int32()),
        ("messages", pa.list_(message)),
        ("picked", text),
        ("other", text),
        ("question", text),
        ("objective", text),
        ("strength", pa.int8()),
        ("tranche", text),
        ("origin", text),
        ("picked_checkpoint", text),
        ("other_checkpoint", text),
        ("finish_reasons", pa.list_(text)),
        ("best_of", pa.list_(pa.int32())),
    ]
    return pa.schema([*columns, ("crowdworker", text)] if has_crowdworker else columns)
