"""`python -m modelserving.server`: one process per device that samples and scores over HTTP.

Does not know Django or a database: clients tell it what to load.
"""

import argparse
import logging
import os
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("DISABLE_SAFETENSORS_CONVERSION", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("GOMP_SPINCOUNT", "5000")  # idle threads sleep soon; read by torch
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # large pages for keys and values

GIB = 1 << 30
SHUTDOWN_SECONDS = 7  # in which replies may end; `./start` gives 10 until it kills
SHORTEST_SECRET = 16  # characters


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m modelserving.server", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8100)
    parser.add_argument("--uds", type=Path, help="listen on this unix socket instead")
    parser.add_argument("--checkpoints-root", type=Path, action="append", default=[], metavar="DIR",
                        help="load only directories below this one (repeatable)")  # fmt: skip
    parser.add_argument("--preload", action="append", default=[], metavar="DIR")
    parser.add_argument(
        "--secret-file", type=Path, help="bearer secret; default: $MODELSERVER_SECRET"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 …")
    parser.add_argument("--dtype", default="auto", choices=("auto", "float32", "bfloat16"))
    parser.add_argument(
        "--threads", type=int, default=0, help="torch threads; default: one per core"
    )
    parser.add_argument("--memory-budget", type=float, default=0.0, metavar="GIB",
                        help="all checkpoints with keys and values; default: half of what there is")  # fmt: skip
    parser.add_argument(
        "--rows", type=int, default=32, help="samples of a checkpoint that run at once"
    )
    parser.add_argument("--queue", type=int, default=256, help="requests of a checkpoint that wait")
    parser.add_argument("--hang-limit", type=float, default=300.0, metavar="SECONDS",
                        help="end the process when one step takes longer: a supervisor restarts it")  # fmt: skip
    levels = ("debug", "info", "warning", "error", "critical")
    parser.add_argument("--log-level", default="info", choices=levels)
    return parser.parse_args(argv)


def secret_of(chosen: argparse.Namespace) -> str | None:
    """The bearer secret; a TCP port without one is refused."""
    text = os.environ.get("MODELSERVER_SECRET", "")
    if chosen.secret_file:
        text = chosen.secret_file.read_text(encoding="utf-8")
    secret = text.strip()
    if not secret and chosen.uds is None:
        sys.exit("no secret: set MODELSERVER_SECRET or --secret-file, or listen on --uds")
    if (
        chosen.uds is None and len(secret) < SHORTEST_SECRET
    ):  # this machine's users reach a port, too
        sys.exit(f"the secret is too short for a port: use {SHORTEST_SECRET} characters or more")
    return secret or None


def build(chosen: argparse.Namespace) -> Any:
    """The ASGI application with its engine."""
    import torch  # noqa: PLC0415 -- after the environment is set

    from modelserving.server.app import App  # noqa: PLC0415 -- loads torch
    from modelserving.server.checkpoints import CheckpointReader, ServingLimits  # noqa: PLC0415 -- loads torch
    from modelserving.server.engine import Engine  # noqa: PLC0415 -- loads torch
    from modelserving.server.metrics import Metrics  # noqa: PLC0415 -- with the others
    from modelserving.server.routes import RequestLimits, Routes  # noqa: PLC0415 -- loads torch
    from modelserving.server.watchdog import Watchdog  # noqa: PLC0415 -- with the others

    name = (
        chosen.device if chosen.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    )
    device = torch.device(name)
    torch.set_num_threads(chosen.threads or os.cpu_count() or 1)
    dtypes = {"float32": torch.float32, "bfloat16": torch.bfloat16}
    default = torch.float32 if device.type == "cpu" else torch.bfloat16
    budget = int(chosen.memory_budget * GIB) or _half_of_memory(device)
    limits = ServingLimits(rows=chosen.rows, queue=chosen.queue, memory_bytes=budget)
    engine = Engine(limits=limits, metrics=Metrics(), clock=time.monotonic)
    reader = CheckpointReader(
        roots=tuple(root.resolve() for root in chosen.checkpoints_root),
        device=device,
        dtype=dtypes.get(chosen.dtype, default),
        limits=limits,
    )
    routes = Routes(
        engine=engine,
        reader=reader,
        limits=RequestLimits(),
        wall_clock=time.time,
        preload=chosen.preload,
    )
    watchdog = Watchdog(engine, limit=chosen.hang_limit, clock=time.monotonic, end=os._exit)
    watchdog.start()
    return App(routes=routes, engine=engine, secret=secret_of(chosen))


def _half_of_memory(device: Any) -> int:
    import torch  # noqa: PLC0415 -- after the environment is set

    from modelserving.core.host_memory import physical_memory  # noqa: PLC0415 -- the same

    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory // 2)
    return physical_memory() // 2


def bound_socket(path: Path) -> socket.socket:
    """A unix socket that only this user can reach; a dead one in its place is removed."""
    with socket.socket(socket.AF_UNIX) as probe:
        if path.exists() and probe.connect_ex(str(path)) == 0:
            sys.exit(f"a server listens on {path} already")
    if path.exists() and not path.is_socket():
        sys.exit(f"{path} is not a socket: give --uds a path where nothing else stands")
    path.unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX)
    before = os.umask(0o177)
    try:
        listening.bind(str(path))
    finally:
        os.umask(before)
    return listening


def main() -> None:
    """Serve until told to stop."""
    import uvicorn  # noqa: PLC0415 -- after the environment is set

    from modelserving.server.connections import Connection  # noqa: PLC0415 -- as above

    chosen = arguments()
    logging.basicConfig(
        level=chosen.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    config = uvicorn.Config(
        build(chosen),
        host=chosen.host,
        port=chosen.port,
        log_level=chosen.log_level,
        access_log=False,
        lifespan="on",
        http=Connection,
        ws="none",  # the application knows none: asked for one, it answers plainly
        timeout_keep_alive=75,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        server_header=False,
    )
    sockets = [bound_socket(chosen.uds)] if chosen.uds else None
    uvicorn.Server(config).run(sockets=sockets)


if __name__ == "__main__":
    main()
