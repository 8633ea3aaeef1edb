"""How much memory this process may use: what the machine has, or the control group that a container stands in.

It does not know what the memory is for. Control groups are those of version 2, which current systems use.
"""

import os
from collections.abc import Iterator
from pathlib import Path

MEMINFO = Path("/proc/meminfo")
OWN_GROUP = Path("/proc/self/cgroup")
GROUPS = Path("/sys/fs/cgroup")


def available_memory() -> int | None:
    """Bytes that can be had without swapping, or None where the system does not say."""
    rooms = [_said(MEMINFO).get("MemAvailable"), *(_left_in(group) for group in _groups())]
    return min((room for room in rooms if room is not None), default=None)


def physical_memory() -> int:
    """Bytes that the machine has, or the least that a control group may use of them."""
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limits = [_number(group / "memory.max") for group in _groups()]
    return min([whole, *(limit for limit in limits if limit is not None)])


def _groups() -> Iterator[Path]:
    """The control group of this process and those around it: each limits it."""
    for line in _text(OWN_GROUP).splitlines():
        if line.startswith("0::/"):
            own = GROUPS / line.removeprefix("0::/").strip("/")
            yield from (each for each in (own, *own.parents) if each.is_relative_to(GROUPS))


def _left_in(group: Path) -> int | None:
    """What the group may still take; files that were read lately are given up for it."""
    limit, used = _number(group / "memory.max"), _number(group / "memory.current")
    if limit is None or used is None:
        return None
    stat = dict(line.split(" ", 1) for line in _text(group / "memory.stat").splitlines())
    given_up = int(stat.get("inactive_file", 0)) + int(stat.get("active_file", 0))
    return max(0, limit - used + given_up)


def _said(meminfo: Path) -> dict[str, int]:
    lines = (line.partition(":") for line in _text(meminfo).splitlines())
    return {name: int(rest.split()[0]) * 1024 for name, _, rest in lines if rest.endswith("kB")}


def _number(path: Path) -> int | None:
    text = _text(path).strip()
    return int(text) if text.isdigit() else None  # `max` is no limit


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
