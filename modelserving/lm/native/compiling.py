"""Our own machine code: compiled once per machine from the sources beside this file, if there is a compiler.

Whoever asks gets the library or None and goes on without it. Does not know what the functions compute.
"""

import ctypes
import hashlib
import logging
import os
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from threading import Lock

logger = logging.getLogger(__name__)

NUMBERS, WHOLE, REAL = ctypes.c_void_p, ctypes.c_int64, ctypes.c_float  # how arguments are passed
SOURCES = ("step.cpp", "draw.cpp", "passes.cpp", "attention.cpp", "products.cpp")
HEADERS = ("numbers.h", "panels.h", "trees.h", "whole_numbers.h")
FLAGS = (
    "-O3", "-march=native", "-std=c++17", "-fopenmp", "-fPIC", "-fno-math-errno",
    "-ffp-contract=off", "-Wno-psabi",
)  # fmt: skip
LONGEST = 120  # seconds a compiler may take
HERE = Path(__file__).parent
ONE_AT_A_TIME = Lock()


@cache
def library() -> ctypes.CDLL | None:
    """The compiled library, the same for the whole life of the process; None where it cannot be had."""
    compiler = shutil.which("g++")
    if compiler is None:
        return None
    try:
        with ONE_AT_A_TIME:  # threads that ask together wait for one compilation
            return ctypes.CDLL(str(_compiled(compiler)))
    except (OSError, subprocess.SubprocessError) as missing:
        said = (getattr(missing, "stderr", None) or b"")[-500:].decode(errors="replace")
        logger.warning("nothing is compiled, so all is slower: %s\n%s", missing, said)
        return None


def _compiled(compiler: str) -> Path:
    """Where the library lies, compiled if these sources never were on this processor."""
    folder = _folder()
    found = folder / f"{_identity(compiler)}.so"
    if found.exists():
        return found
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        parts = [Path(scratch) / f"{source}.o" for source in SOURCES]

        def compile_part(source: str, part: Path) -> None:
            _run([compiler, *FLAGS, "-c", str(HERE / source), "-o", str(part)])

        with ThreadPoolExecutor(len(SOURCES)) as pool:  # each takes about two seconds
            list(pool.map(compile_part, SOURCES, parts))
        fresh = Path(scratch) / found.name
        _run([compiler, *FLAGS, "-shared", *map(str, parts), "-o", str(fresh)])
        fresh.replace(found)  # whole or not at all, whoever else compiles it too
    return found


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=LONGEST)


def _folder() -> Path:
    """A folder that only we can write to: what lies there is run."""
    folder = Path(os.environ.get("LABELAPP_VAR") or HERE.parents[2] / "var") / "native"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    state = folder.stat()
    if state.st_uid != os.getuid() or state.st_mode & 0o022:
        raise PermissionError(f"{folder} can be written by others: make it yours alone (chmod 700)")
    return folder


def _identity(compiler: str) -> str:
    """A hash of everything that the library's code depends on."""
    version = subprocess.run([compiler, "--version"], check=True, capture_output=True, timeout=30)
    processor = Path("/proc/cpuinfo")
    lines = processor.read_text().splitlines() if processor.exists() else []
    kind = {line for line in lines if line.startswith(("model name", "flags", "Features"))}
    parts = [version.stdout, " ".join(FLAGS).encode(), "\n".join(sorted(kind)).encode()]
    parts += [(HERE / name).read_bytes() for name in (*SOURCES, *HEADERS)]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:32]
