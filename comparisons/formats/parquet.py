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

    message = pa.struct([("role", pa.string()), ("content", pa.string())])
    schema = pa.schema(
        [
            ("comparison", pa.string()),
            ("conversation", pa.string()),
            ("turn", pa.int32()),
            ("messages", pa.list_(message)),
            ("picked", pa.string()),
            ("other", pa.string()),
            ("question", pa.string()),
            ("objective", pa.string()),
            ("strength", pa.int8()),
            ("tranche", pa.string()),
            ("origin", pa.string()),
            ("picked_checkpoint", pa.string()),
            ("other_checkpoint", pa.string()),
            ("finish_reasons", pa.list_(pa.string())),
        ]
    )
    if has_crowdworker:
        schema = schema.append(pa.field("crowdworker", pa.string()))
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
