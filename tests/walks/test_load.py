"""Many crowdworkers at once over real HTTP: every page quick, no error, no choice lost or doubled.

A fake engine writes 30 words a second; people think as in the workload that the targets stand for:
a turn every one to two minutes. The short form has 40 people who think faster and so send three times as
many turns as the 50 of its target. Signing in is told apart from the other pages: Argon2 is slow on purpose.
"""

import asyncio
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from labelapp.bench import history as told
from labelapp.bench.measuring import milliseconds, percentile
from labelapp.bench.people import Timings
from labelapp.bench.wire import Browser
from labelapp.bench.writers import SIGN_IN, Writer
from labelapp.supervisor.deathsignal import die_with_parent
from labelapp.supervisor.postgresql import own_postgresql
from tests.walks.instance import ROOT, RunningProduct, free_port

CORES = 2


@pytest.fixture
def two_cores() -> Iterator[None]:
    """People and product together on two cores, however many there are."""
    every = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(every)[:CORES])
    yield
    os.sched_setaffinity(0, every)


@contextmanager
def fake_engine() -> Iterator[str]:
    """The fake model server in a process of its own; its address."""
    port = free_port()
    words = ("--words", "60", "--words-per-second", "30")
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.fake_engine", "--port", str(port), *words], cwd=ROOT,
        preexec_fn=die_with_parent,  # noqa: PLW1509 -- before any thread
    )  # fmt: skip
    try:
        address, deadline = f"http://127.0.0.1:{port}", time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                httpx.get(f"{address}/healthz", trust_env=False)
                break
            except httpx.HTTPError:
                time.sleep(0.1)
        yield address
    finally:
        process.terminate()
        process.wait()


@contextmanager
def product(folder, *, database_url: str) -> Iterator[RunningProduct]:
    with fake_engine() as engine:
        running = RunningProduct(
            folder / "var", MODELSERVER_URLS=engine, DATABASE_URL=database_url, OMP_NUM_THREADS="1"
        )
        running.start()
        yield running
        running.stop()


def command(running: RunningProduct, *words: str) -> list[str]:
    environment = {**running.environment, "DJANGO_SETTINGS_MODULE": "labelapp.settings"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", *words], cwd=ROOT, env=environment, text=True,
        capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.splitlines()


async def crowd(running, history, *, people: int, seconds: float, ramp: float, think) -> Timings:
    stock = command(
        running, "labelapp.bench.stocking", "--people", str(people), "--campaign", "helpful"
    )
    known = json.loads(stock[-1])
    timings = Timings()
    ends = time.monotonic() + seconds

    async def one(number: int, name: str) -> None:
        await asyncio.sleep(ramp * number / people)
        writer = Writer(
            name=name, password=known["password"], campaign="helpful",
            browser=Browser(host="127.0.0.1", port=running.port), history=history,
            timings=timings, rng=random.Random(name), think_seconds=think,
        )  # fmt: skip
        await writer.work(until=lambda: time.monotonic() > ends)

    await asyncio.gather(*(one(number, name) for number, name in enumerate(known["names"])))
    return timings


def under_load(folder, *, database_url: str, **wanted) -> tuple[dict, told.Findings]:
    """What was measured, and what does not fit."""
    history = told.History(folder / "history.jsonl")
    with product(folder, database_url=database_url) as running:
        timings = asyncio.run(crowd(running, history, **wanted))
        history.close()
        rows = [told.Stored(**json.loads(row)) for row in command(running, "labelapp.bench.stored")]
        assert json.loads(running.manage("doctor", "--stored", "--json"))["is_good"]
    events = told.read_events(history.path)
    pages = {name: some for name, some in timings.seconds.items() if name != SIGN_IN}
    everything = [each for some in pages.values() for each in some]
    measured = {
        "p95": 1000 * percentile(everything, 95), "p99": 1000 * percentile(everything, 99),
        "answers": len(everything), "choices": len(rows),
        "acknowledged": sum(event.kind == "ok" for event in events),
        "by_kind": {name: milliseconds(some) for name, some in timings.seconds.items()},
    }  # fmt: skip
    print(json.dumps(measured))
    return measured, told.check(events, rows)


@pytest.mark.walk
@pytest.mark.timeout(240)
@pytest.mark.usefixtures("two_cores")
def test_forty_people_for_a_minute(tmp_path):
    measured, found = under_load(
        tmp_path, database_url="", people=40, seconds=60, ramp=20, think=(14, 24)
    )

    assert found == told.Findings(missing=(), doubled=(), phantom=(), given_twice=())
    assert measured["acknowledged"] == measured["choices"] >= 50
    assert measured["p95"] <= 400, measured


@pytest.mark.release
@pytest.mark.timeout(1200)
@pytest.mark.usefixtures("two_cores")
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_two_hundred_people_for_ten_minutes(tmp_path, database):
    wanted = {"people": 200, "seconds": 600, "ramp": 60, "think": (60, 120)}
    if database == "postgresql":
        with own_postgresql() as address:
            measured, found = under_load(tmp_path, database_url=address, **wanted)
    else:
        measured, found = under_load(tmp_path, database_url="", **wanted)

    assert found == told.Findings(missing=(), doubled=(), phantom=(), given_twice=())
    assert measured["acknowledged"] == measured["choices"] >= 800
    assert measured["p95"] <= 300, measured
    assert measured["p99"] <= 1000, measured
