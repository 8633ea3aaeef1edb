"""Lines of text files that people bring, gzipped or not, each with where it stands.

It does not know what a line means.
"""

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path

from training.config import ConfigError

DAMAGE = (EOFError, gzip.BadGzipFile, zlib.error, UnicodeDecodeError)


def numbered_lines(
    path: Path, *, refusal: type[ConfigError] = ConfigError, cure: str
) -> Iterator[tuple[str, str]]:
    """Where each line stands (`rows.jsonl.gz line 3`), and the line; a file that cannot be read is refused."""
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                yield f"{path.name} line {number}", line
    except DAMAGE as damaged:
        raise refusal(f"{path} is damaged ({damaged}): {cure}") from None
