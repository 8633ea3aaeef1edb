"""A supervised process: its lines, its death and return, its end."""

import asyncio
import os
import signal
import sys

import pytest

from labelapp.supervisor import child as child_module
from labelapp.supervisor.child import Child, Program


def _child(tmp_path, code, *, said=None, grace=2.0, ready_line=None):
    program = Program(
        name="sample",
        command=(sys.executable, "-u", "-c", code),
        environment=dict(os.environ),
        ready_line=ready_line,
        grace=grace,
    )
    return Child(
        program=program, log_folder=tmp_path, say=(said if said is not None else []).append
    )


async def _until(condition, within=15.0):
    async with asyncio.timeout(within):
        while not condition():  # noqa: ASYNC110 -- a process says nothing
            await asyncio.sleep(0.02)


def _exists(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_child_that_dies_is_said_and_started_again(tmp_path, monkeypatch):
    monkeypatch.setattr(child_module, "FIRST_PAUSE", 0.05)
    said = []
    child = _child(tmp_path, "import time; print('up'); time.sleep(60)", said=said, ready_line="up")

    async def scenario():
        task = asyncio.create_task(child.keep_running())
        await child.is_up.wait()
        first = child.pid
        os.kill(first, signal.SIGKILL)
        await _until(lambda: child.deaths == 1)
        await _until(lambda: child.is_up.is_set() and child.pid not in {None, first})
        await child.stop()
        await task

    asyncio.run(scenario())

    assert said == ["sample was killed by SIGKILL; starting it again in 0.05 s"]


def test_pauses_double_up_to_the_longest(tmp_path, monkeypatch):
    monkeypatch.setattr(child_module, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(child_module, "LONGEST_PAUSE", 0.04)
    said = []
    child = _child(tmp_path, "raise SystemExit(3)", said=said)

    async def scenario():
        task = asyncio.create_task(child.keep_running())
        await _until(lambda: child.deaths >= 4)
        await child.stop()
        await task

    asyncio.run(scenario())

    pauses = [line.rsplit(" ", 2)[1] for line in said[:4]]
    assert pauses == ["0.01", "0.02", "0.04", "0.04"]
    assert said[0].startswith("sample ended with exit code 3")


def test_child_that_ignores_sigterm_is_killed_after_its_grace(tmp_path):
    said = []
    code = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up'); time.sleep(60)"
    child = _child(tmp_path, code, said=said, grace=0.3, ready_line="up")

    async def scenario():
        task = asyncio.create_task(child.keep_running())
        await child.is_up.wait()
        pid = child.pid
        await child.stop()
        await task
        return pid

    pid = asyncio.run(scenario())

    assert said == ["sample did not stop in 0.3 s: killed"]
    assert not _exists(pid)


def test_what_a_child_started_ends_with_it(tmp_path):
    code = (
        "import subprocess, sys, time;"
        "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']);"
        "print('grandchild', p.pid); time.sleep(60)"
    )
    child = _child(tmp_path, code, ready_line="grandchild")

    async def scenario():
        task = asyncio.create_task(child.keep_running())
        await child.is_up.wait()
        grandchild = int(child.last_lines[-1].split()[1])
        await child.stop()
        await task
        await _until(lambda: not _exists(grandchild) or _is_zombie(grandchild))

    asyncio.run(scenario())


def _is_zombie(pid):
    with open(f"/proc/{pid}/stat") as stream:
        return stream.read().rpartition(")")[2].split()[0] == "Z"


@pytest.mark.parametrize(
    ("line", "is_shown"),
    [
        ("INFO all is well", False),
        ("2026-11-24 ERROR django.request: no", True),
        ("WARNING Memory overcommit must be enabled!", False),
    ],
)
def test_terminal_shows_what_is_loud_and_the_log_everything(tmp_path, line, is_shown):
    said = []
    child = _child(
        tmp_path, f"import time; print({line!r}); time.sleep(60)", said=said, ready_line=line
    )

    async def scenario():
        task = asyncio.create_task(child.keep_running())
        await child.is_up.wait()
        await child.stop()
        await task

    asyncio.run(scenario())

    assert said == ([f"sample     | {line}"] if is_shown else [])
    assert (tmp_path / "sample.log").read_text().splitlines()[0] == line
