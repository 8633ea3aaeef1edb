"""`./start bench web`, small: it runs, its last line is its result, and nothing is lost."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.walk
@pytest.mark.timeout(170)
def test_the_web_bench_ends_with_its_result():
    small = ("--clients", "1", "4", "--seconds", "2", "--items", "3000")

    done = subprocess.run(
        [sys.executable, "-m", "labelapp.supervisor", "bench", "web", *small], cwd=ROOT,
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr[-3000:]
    parts = json.loads(done.stdout.splitlines()[-1])["parts"]
    assert [part["clients"] for part in parts] == [1, 4]
    for part in parts:
        assert part["choices_per_second"] > 1
        assert part["given_twice"] == part["missing"] == part["phantom"] == part["refused"] == 0
