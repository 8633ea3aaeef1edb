"""What may be used is the least of the machine's memory and what each control group leaves."""

from pathlib import Path

import pytest

from modelserving.core import host_memory
from modelserving.core.host_memory import available_memory, physical_memory


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with 900 kB left, and this process in the group /pods/own."""
    (tmp_path / "meminfo").write_text(
        "MemTotal: 9000 kB\nHugePages_Total: 0\nMemAvailable: 900 kB\n"
    )
    (tmp_path / "cgroup").write_text("1:name=systemd:/elsewhere\n0::/pods/own\n")
    monkeypatch.setattr(host_memory, "MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(host_memory, "OWN_GROUP", tmp_path / "cgroup")
    monkeypatch.setattr(host_memory, "GROUPS", tmp_path / "groups")
    return tmp_path


def limit(group: Path, *, most: str, used: int, files: int = 0) -> None:
    group.mkdir(parents=True, exist_ok=True)
    (group / "memory.max").write_text(f"{most}\n")
    (group / "memory.current").write_text(f"{used}\n")
    (group / "memory.stat").write_text(f"anon 5\ninactive_file {files}\nactive_file 0\n")


def test_without_groups_the_machine_decides() -> None:
    assert available_memory() == 900 * 1024
    assert physical_memory() > 900 * 1024


def test_the_tightest_group_decides_and_gives_up_files_it_read(machine: Path) -> None:
    limit(machine / "groups" / "pods" / "own", most="max", used=10)
    limit(machine / "groups" / "pods", most="500000", used=450_000, files=30_000)

    assert available_memory() == 80_000
    assert physical_memory() == 500_000


def test_a_group_that_is_beyond_its_limit_leaves_nothing(machine: Path) -> None:
    limit(machine / "groups" / "pods" / "own", most="500", used=900)

    assert available_memory() == 0


def test_a_system_that_does_not_say(machine: Path) -> None:
    (machine / "meminfo").unlink()
    (machine / "cgroup").unlink()

    assert available_memory() is None
