"""A dated transcript of a walk: every step, number and screenshot as it happens, so that a walk that breaks has one too.

Knows lines of Markdown and a folder; knows nothing of what is walked through.
"""

import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class Transcript:
    """OUT/transcript.md, written line by line."""

    def __init__(self, folder: Path, *, title: str) -> None:
        """Begin the file with the date, the machine and the commit."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.began = time.monotonic()
        self.path = folder / "transcript.md"
        self.path.write_text(f"# {title}\n\n{machine()}\n", encoding="utf-8")

    def heading(self, text: str) -> None:
        """A step of the walk."""
        self._write(f"\n## {text}\n")

    def say(self, text: str) -> None:
        """One line, with the seconds since the walk began."""
        self._write(f"- `{self.seconds():6.0f} s` {text}")

    def table(self, head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """A table."""
        lines = [head, ["---"] * len(head), *rows]
        table = "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)
        self._write(f"\n{table}\n")

    def quote(self, text: str) -> None:
        """Something as it stands elsewhere."""
        self._write("\n```text\n" + text.strip() + "\n```\n")

    def seconds(self) -> float:
        """Since the walk began."""
        return time.monotonic() - self.began

    def _write(self, text: str) -> None:
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(text + "\n")
        print(text, flush=True)


def machine() -> str:
    """Date, commit, processor, load and versions: what every number depends on."""
    load = " ".join(f"{each:.1f}" for each in os.getloadavg())
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    return "\n".join(
        [
            f"- {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, commit `{_commit()}`",
            f"- {os.cpu_count()} cores ({model}), {_memory_gib():.0f} GiB; load before it began: {load}",
            f"- Python {platform.python_version()}, torch {_version('torch')}, {platform.system()} {platform.release()}",
            f"- command: `{' '.join(sys.orig_argv[1:])}`",
        ]
    )


def _commit() -> str:
    words = ["git", "describe", "--always", "--dirty"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def _memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3


def _version(package: str) -> str:
    from importlib.metadata import version

    return version(package)
