"""Files of JSON lines: read one by one however large, written so that equal rows give equal bytes.

Knows gzip and JSON; knows nothing of what a line means.
"""

import gzip
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from comparisons.formats.pairs import LineError

LONGEST_LINE = 4 * 1024 * 1024  # bytes; the longest public HH line has under 40,000
GZIP_MAGIC = b"\x1f\x8b"


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """The file's bytes, unpacked when it is gzip, whatever its name says."""
    with path.open("rb") as raw:
        is_packed = raw.read(2) == GZIP_MAGIC
        raw.seek(0)
        if not is_packed:
            yield raw
            return
        with gzip.GzipFile(fileobj=raw, mode="rb") as unpacked:
            yield unpacked  # type: ignore[misc]  # a GzipFile reads like IO[bytes]


def numbered_lines(stream: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """Line numbers from 1 and lines; an endless line comes out cut, to be refused as one line."""
    number = 0
    while line := stream.readline(LONGEST_LINE + 1):
        number += 1
        piece = line
        while piece and not piece.endswith(b"\n") and len(piece) > LONGEST_LINE:
            piece = stream.readline(LONGEST_LINE + 1)
        yield number, line


def record_of_line(line: bytes | str) -> dict[str, Any]:
    """The JSON object on a line."""
    if len(line) > LONGEST_LINE:
        raise LineError(f"the line is longer than {LONGEST_LINE:,} bytes")
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as broken:
        raise LineError(f"not JSON: {broken}") from None
    if not isinstance(record, dict):
        raise LineError("not a JSON object")
    return record


def line_of(record: Mapping[str, Any]) -> bytes:
    """One canonical line: sorted keys, no spare spaces, UTF-8."""
    text = json.dumps(record, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return text.encode("utf-8") + b"\n"


@contextmanager
def gzip_writer(path: Path) -> Iterator[IO[bytes]]:
    """A gzip file without name and time inside, so that equal rows give equal bytes."""
    with (
        path.open("wb") as raw,
        gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0, compresslevel=6) as packed,
    ):
        yield packed  # type: ignore[misc]  # a GzipFile writes like IO[bytes]
