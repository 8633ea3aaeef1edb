"""`./start bench web`: choices a second over real HTTP, and what was kept of them.

Clients give second opinions without thinking; client and server share the first two cores. The answer
to a choice brings the next item, as it does for the page's script; every tenth item is fetched by
loading the page anew. Prints a table and, as its last line, one JSON object.
"""

import argparse
import asyncio
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop

from labelapp.bench import history as told
from labelapp.bench import instance as instances
from labelapp.bench.measuring import milliseconds, table
from labelapp.bench.people import NEXT_ITEM, RELOAD_EVERY, SUBMIT, Reader, Timings, sign_in
from labelapp.bench.wire import Browser

DATABASES = {"sqlite": ["sqlite"], "postgresql": ["postgresql"], "both": ["sqlite", "postgresql"]}
CORES = 2
WARM_UP_SECONDS = 2.0


def arguments(words: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="./start bench web", description=__doc__)
    parser.add_argument("--database", choices=DATABASES, default="sqlite")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--seconds", type=float, default=15.0, help="for each number of clients")
    parser.add_argument("--items", type=int, default=10_000, help="waiting at the beginning")
    parser.add_argument(
        "--reload-every", type=int, default=RELOAD_EVERY, help="choices; 1: fetch every item anew"
    )
    return parser.parse_args(words)


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A running web with work in its database, and people who may sign in."""

    instance: instances.Instance
    web: int  # its process
    names: Sequence[str]
    password: str
    history: told.History


@dataclass(frozen=True, kw_only=True)
class Part:
    """What one crowd did in how long."""

    timings: Timings
    seconds: float
    web_cpu: float  # seconds of processor time of the web processes
    client_cpu: float


async def crowd(scene: Scene, *, clients: int, asked: argparse.Namespace) -> Part:
    """Everybody at once for a while."""
    timings = Timings()
    readers = [
        Reader(
            name=name, browser=Browser(host="127.0.0.1", port=scene.instance.port),
            history=scene.history, timings=timings, rng=random.Random(name),
            reload_every=asked.reload_every,
        )
        for name in scene.names[:clients]
    ]  # fmt: skip
    for reader in readers:
        await sign_in(reader.browser, name=reader.name, password=scene.password)
    await _work(readers, until=time.perf_counter() + WARM_UP_SECONDS)
    timings.seconds.clear()
    timings.refused = 0
    web_cpu, client_cpu = instances.cpu_seconds(scene.web), time.process_time()
    began = time.perf_counter()
    await _work(readers, until=began + asked.seconds)
    part = Part(
        timings=timings,
        seconds=time.perf_counter() - began,
        web_cpu=instances.cpu_seconds(scene.web) - web_cpu,
        client_cpu=time.process_time() - client_cpu,
    )
    await asyncio.gather(*(reader.browser.close() for reader in readers))
    return part


async def _work(readers: Sequence[Reader], *, until: float) -> None:
    await asyncio.gather(
        *(each.work(until=lambda: time.perf_counter() >= until) for each in readers)
    )


def measure(database: str, *, asked: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Every number of clients in turn, on one database that was empty before its work was put in."""
    with (
        tempfile.TemporaryDirectory(prefix="labelapp-bench-") as name,
        instances.scratch_instance(Path(name), database=database) as instance,
    ):
        stock = instance.stock(people=max(asked.clients), items=asked.items)
        history = told.History(Path(name) / "history.jsonl")
        with instances.running_web(instance) as web:
            scene = Scene(instance=instance, web=web, history=history, **stock)
            for clients in asked.clients:
                print(f"{database}, {clients} clients …", file=sys.stderr, flush=True)
                part = uvloop.run(crowd(scene, clients=clients, asked=asked))
                yield row_of(part, database=database, clients=clients, found=checked(scene))


def checked(scene: Scene) -> told.Findings:
    """Everything that was told so far against what is stored now."""
    scene.history.flush()
    rows = scene.instance.command("-m", "labelapp.bench.stored").splitlines()
    stored = [told.Stored(**json.loads(row)) for row in rows]
    return told.check(told.read_events(scene.history.path), stored)


def row_of(part: Part, *, database: str, clients: int, found: told.Findings) -> dict[str, Any]:
    """One line of the result."""
    submits = part.timings.seconds.get(SUBMIT, [])
    each = 1000 / max(1, len(submits))
    return {
        "database": database,
        "clients": clients,
        "choices_per_second": round((len(submits) - part.timings.refused) / part.seconds, 1),
        "submit_ms": milliseconds(submits),
        "next_item_ms": milliseconds(part.timings.seconds.get(NEXT_ITEM, [])),
        "refused": part.timings.refused,
        "given_twice": len(found.given_twice) + len(found.doubled),
        "missing": len(found.missing),
        "phantom": len(found.phantom),
        "web_cpu_ms_per_choice": round(each * part.web_cpu, 2),
        "client_cpu_ms_per_choice": round(each * part.client_cpu, 2),
    }


def main(words: Sequence[str]) -> int:
    """Measure every part; 1 when a promise was broken."""
    asked = arguments(words)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started is stopped
    cores = sorted(os.sched_getaffinity(0))[:CORES]
    os.sched_setaffinity(0, cores)  # children too
    rows: list[dict[str, Any]] = []
    for database in DATABASES[asked.database]:
        for row in measure(database, asked=asked):
            print(json.dumps(row), file=sys.stderr, flush=True)
            rows.append(row)
    print(table(rows))
    print(json.dumps({"cores": len(cores), "load_average": os.getloadavg()[0], "parts": rows}))
    broken = sum(row["given_twice"] + row["missing"] + row["phantom"] for row in rows)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
