"""As many processes as cores, and none that outlives its starter."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from labelapp.processes import web_processes

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(("cores", "expected"), [(1, 1), (2, 2), (64, 4)])
def test_one_process_for_each_core_up_to_four(cores, expected):
    assert web_processes(cores) == expected


def test_where_nobody_tells_the_own_cores_all_are_counted(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 3)

    assert web_processes() == 3


def test_a_worker_ends_when_its_starter_is_killed(tmp_path):
    script = tmp_path / "starter.py"
    script.write_text(
        textwrap.dedent(
            """
            import multiprocessing, time
            from labelapp.processes import end_with_parent

            def work():
                end_with_parent()
                print(multiprocessing.current_process().pid, flush=True)
                time.sleep(60)

            if __name__ == "__main__":
                worker = multiprocessing.get_context("spawn").Process(target=work)
                worker.start()
                worker.join()
            """
        )
    )
    starter = subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    worker = int(starter.stdout.readline())

    starter.send_signal(signal.SIGKILL)
    starter.wait()

    deadline = time.monotonic() + 10
    while is_running(worker) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_running(worker)


def is_running(pid: int) -> bool:
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
