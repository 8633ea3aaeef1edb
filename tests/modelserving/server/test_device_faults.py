"""Out of memory and a device that hangs, with the real process."""

import resource
import time
from pathlib import Path

import httpx
import pytest

from modelserving.server.watchdog import EXIT_CODE
from tests.modelserving.server.conftest import Served, launch

pytestmark = [pytest.mark.fault, pytest.mark.timeout(300)]

HELLO = [{"role": "user", "content": "Hello there, how are you?"}]
HANGS_WHEN_TOLD = """
import sys, time
from pathlib import Path
import modelserving.server.__main__ as server
from modelserving.lm.sampler import Sampler

told, step = Path(sys.argv.pop(1)), Sampler.step

def hang(*arguments, **named):
    while told.exists():
        time.sleep(0.1)
    return step(*arguments, **named)

Sampler.step = hang
server.main()
"""


def test_out_of_memory_is_an_answer_and_serving_goes_on(tmp_path: Path) -> None:
    served = launch(
        tmp_path, "--rows", "64", num_hidden_layers=8, num_attention_heads=8, num_key_value_heads=8,
        head_dim=128,
    )  # fmt: skip
    try:
        small = {"model": served.policy, "messages": HELLO, "max_tokens": 4, "seed": 1}
        large = {**small, "n": 64, "max_tokens": 120}  # about 1.3 GB of keys and values
        before = served.post("/v1/chat/completions", small).json()["choices"]
        _allow(served, more_bytes=300 << 20)

        failed = served.post("/v1/chat/completions", large)
        after = served.post("/v1/chat/completions", small).json()["choices"]

        assert failed.status_code == 503
        assert failed.json()["error"]["code"] == "out_of_memory"
        assert after == before
    finally:
        served.process.kill()


def _allow(served: Served, *, more_bytes: int) -> None:
    """Limit the address space of the running server to what it has and a little more."""
    status = Path(f"/proc/{served.process.pid}/status").read_text()
    used = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmSize"))
    limits = (used * 1024 + more_bytes, resource.RLIM_INFINITY)
    resource.prlimit(served.process.pid, resource.RLIMIT_AS, limits)


def test_a_hung_device_is_said_and_then_ends_the_process(tmp_path: Path) -> None:
    told, script = tmp_path / "hang", tmp_path / "server.py"
    script.write_text(HANGS_WHEN_TOLD)
    served = launch(
        tmp_path, "--hang-limit", "8", program=(str(script), str(told)),
        environment={"PYTHONPATH": str(Path(__file__).parents[3])},
    )  # fmt: skip
    content = {"model": served.policy, "messages": HELLO, "max_tokens": 40, "stream": True}
    lines: list[str] = []

    def read() -> None:
        told.touch()
        with (
            served.client() as client,
            client.stream("POST", "/v1/chat/completions", json=content) as answer,
        ):
            time.sleep(0.5)
            assert httpx.get(f"{served.url}/healthz", timeout=5).status_code == 200
            ready = httpx.get(f"{served.url}/readyz", timeout=20)
            assert (ready.status_code, ready.json()["error"]["code"]) == (503, "engine_stuck")
            lines.extend(answer.iter_lines())

    with pytest.raises(httpx.TransportError):
        read()

    assert "data: [DONE]" not in lines
    assert served.process.wait(timeout=20) == EXIT_CODE
