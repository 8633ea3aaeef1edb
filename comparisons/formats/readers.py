"""The formats that an import reads, by name, and which of them a line has.

Knows the formats' readers; knows nothing of files or the database.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from comparisons.formats import hh, rich, trl
from comparisons.formats.lines import record_of_line
from comparisons.formats.pairs import LineError, Pair

READERS: Mapping[str, Callable[[Mapping[str, Any]], Pair]] = {
    "hh": hh.pair_of,
    "trl": trl.pair_of,
    "rich": rich.pair_of,
}


def advice_for(line: bytes | str) -> str:
    """What a first line that could not be read tells of its file, where it tells anything."""
    try:
        record = record_of_line(line)
    except LineError:
        return "a file has one JSON object a line: write it so (of a JSON array, `jq -c '.[]'`)"
    for name, read in READERS.items():
        with suppress(LineError):
            read(record)
            return f"its first line can be read with --format {name}"
    return ""
