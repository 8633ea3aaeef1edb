"""What the command line and the environment ask for.

Knows words and addresses; starts nothing.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from labelapp.supervisor.places import CannotStart

USAGE = """\
./start                 run everything on this machine; first time: installs, then a sign-in link
./start demo            the same, with accounts, two campaigns and sample comparisons to look at
./start test            every check and test that must pass; --release adds the long ones
./start bench WHAT      measure: training, serving or web
./start manage COMMAND  a management command, e.g. import_comparisons, cut_release, start_run,
                        promote, roll_back, doctor, sign_in_link; alone: lists them all
./start --help          this text

options of run and demo:
  --port N      listen on this port (default: the port of PUBLIC_URL, else 8000)
  --host NAME   listen on this address (default: PUBLIC_URL's when it is loopback, else 127.0.0.1)
  --threads N   responses written at once by the generation worker (default 32)
  --verbose     show every line that the processes write, not only warnings

environment: PUBLIC_URL, DATABASE_URL, REDIS_URL, MODELSERVER_URLS, LABELAPP_VAR, ARTEFACTS,
             DEVICE (auto, cpu, cuda); docs/operations.md tells what they hold
"""
SHORT_USAGE = "./start [run | demo] [--port N] [--host NAME] [--threads N] [--verbose]; all of it: ./start --help"
LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to run."""

    host: str
    port: int
    public_url: str
    threads: int
    is_demo: bool
    is_verbose: bool


def read_options(arguments: Sequence[str], environment: Mapping[str, str]) -> Options:
    """Parse the words after ./start (run or demo)."""
    parser = argparse.ArgumentParser(prog="./start", usage=SHORT_USAGE, add_help=False)
    parser.add_argument("command", nargs="?", default="run")
    parser.add_argument("--port", type=int)
    parser.add_argument("--host")
    parser.add_argument("--threads", type=int, default=32)
    parser.add_argument("--verbose", action="store_true")
    words = parser.parse_args(arguments)
    if words.command not in {"run", "demo"}:
        raise CannotStart(
            f"there is no ./start {words.command}: choose run, demo, test, bench or manage; "
            "management commands, doctor among them, are ./start manage COMMAND"
        )
    if words.port is not None and not 0 < words.port < 1 << 16:
        raise CannotStart(f"--port {words.port} is not a port: choose one from 1 to 65535")
    if words.threads < 1:
        raise CannotStart(f"--threads {words.threads} writes no response: give 1 or more")
    host, port, public_url = _addresses(words.host, words.port, environment.get("PUBLIC_URL", ""))
    is_behind_proxy = environment.get("BEHIND_PROXY", "").strip().lower() == "true"
    if public_url.startswith("https:") and not is_behind_proxy:
        raise CannotStart(
            f"PUBLIC_URL={public_url} needs a proxy before it that ends TLS and passes "
            "X-Forwarded-Proto: set BEHIND_PROXY=true (without, every page would redirect to itself); "
            "docs/operations.md, Behind a proxy"
        )
    return Options(
        host=host,
        port=port,
        public_url=public_url,
        threads=words.threads,
        is_demo=words.command == "demo",
        is_verbose=words.verbose,
    )


def _addresses(host: str | None, port: int | None, public_url: str) -> tuple[str, int, str]:
    """Where to listen, and the address people use."""
    given = urlsplit(public_url.strip().rstrip("/") or "http://127.0.0.1:8000")
    if given.scheme not in {"http", "https"} or not given.hostname:
        raise CannotStart(f"PUBLIC_URL={public_url!r}: write http://host[:port] or https://host")
    is_here = given.hostname in LOOPBACK
    host = host or (given.hostname if is_here else "127.0.0.1")
    port = port or (given.port if is_here and given.port else 8000)
    if is_here and given.scheme == "http":
        shown = f"[{given.hostname}]" if ":" in given.hostname else given.hostname
        return host, port, f"http://{shown}:{port}"
    return host, port, given.geturl()
