"""A process keeps the memory that it frees, where its C library can be told so."""

import json
import platform
import subprocess
import sys

import pytest

STEPS = """
import json, resource, sys
from training.core.memory import keep_freed_memory

def step():
    held = [bytearray(16 << 20) for _ in range(4)]

kept = keep_freed_memory() if sys.argv[1] == "keep" else None
step(), step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
step(), step(), step()
print(json.dumps([kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before]))
"""


def pages_mapped(how: str) -> tuple[bool | None, int]:
    """What keeping said, and the pages that three steps after the first two had to map."""
    done = subprocess.run(
        [sys.executable, "-c", STEPS, how], check=True, capture_output=True, text=True
    )
    kept, count = json.loads(done.stdout)
    return kept, count


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_what_a_step_frees_the_next_one_uses():
    kept, count = pages_mapped("keep")

    assert kept
    assert count < 4096  # a tenth of what they use
    assert pages_mapped("do not")[1] > 10 * count
