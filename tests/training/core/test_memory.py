"""A process keeps the memory that it frees, where its C library can be told so and nobody told it otherwise."""

import os
import platform
import subprocess
import sys

import pytest

STEPS = """
import resource, sys
from training.core.memory import keep_freed_memory

def step():
    held = [bytearray(16 << 20) for _ in range(4)]

if sys.argv[1] == "keep":
    keep_freed_memory()
step(), step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
step(), step(), step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
PAGES = 3 * 4 * 4096  # that the three steps use

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")


def pages_mapped(how: str, **environment: str) -> int:
    """By three steps after the first two."""
    known = {name: each for name, each in os.environ.items() if "MALLOC" not in name.upper()}
    known.pop("GLIBC_TUNABLES", None)
    done = subprocess.run(
        [sys.executable, "-c", STEPS, how],
        check=True, capture_output=True, text=True, env=known | environment,
    )  # fmt: skip
    return int(done.stdout)


def test_what_a_step_frees_the_next_one_uses():
    kept, given_back = pages_mapped("keep"), pages_mapped("give back")

    assert kept < PAGES / 10
    assert given_back > PAGES / 2


def test_settings_in_the_environment_stand():
    mapped = pages_mapped("keep", MALLOC_TRIM_THRESHOLD_="131072", MALLOC_MMAP_THRESHOLD_="131072")

    assert mapped > PAGES / 2
