"""`./start bench training`: ours beside TRL's on the same data, model and machine; the last line is one JSON object.

It does not measure anything itself: every number comes from a child process that does one thing.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import torch
import transformers

from modelserving.lm.products import multiply_in_int16, product
from training.bench.workload import SIZES, TASKS, Task, write
from training.core.seeding import fastest_on_cpu

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
RIVAL = HERE / "rival.py"
TRL_PPO = ("trl_ppo", "trl_ppo_float32", "trl_ppo_all_bfloat16")
Found = dict[str, Any]
OURS = {"pm": "preference", "ppo": "ppo", "ppo_shared": "ppo_shared"}
ROWS = (*OURS, "trl_pm", "trl_pm_tuned", *TRL_PPO)


class ChildFailed(RuntimeError):
    """A measurement ended without a number; the message holds its last words."""


def rival_environment(folder: Path, *, requirements: str) -> Path | None:
    """The Python of a virtual environment with TRL, which shares our torch; None where it cannot be installed."""
    python = folder / "bin" / "python"
    finished = folder / "finished"  # written last: it may be killed at any moment before
    if finished.exists():
        return python
    venv.create(folder, with_pip=True, clear=True)
    site = next((folder / "lib").glob("python*/site-packages"))
    ours = next(path for path in sys.path if path.endswith("site-packages"))
    (site / "ours.pth").write_text(ours + "\n")
    command = [
        str(python),
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "-r",
        str(HERE / requirements),
    ]
    if subprocess.run(command, check=False).returncode != 0:
        print(f"{requirements} could not be installed: its rows are left out", file=sys.stderr)
        return None
    finished.touch()
    return python


def child(command: list[str], *, threads: int) -> Found:
    """One measurement in a process of its own. Raises ChildFailed."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1"}
    environment.setdefault("CUDA_VISIBLE_DEVICES", "0")  # of several, TRL would take all
    done = subprocess.run(
        [*command, "--threads", str(threads)],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise ChildFailed(f"{' '.join(command)} failed:\n{done.stderr[-3000:]}")
    found: Found = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def matmul_gflops(*, threads: int, precision: str) -> float:
    """Rate of products of the shapes that the model multiplies, best of a few: the processor's limit."""
    torch.set_num_threads(threads)
    multiply_in_int16(is_on=precision == "int16")
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    left = torch.randn(2048, 256).to(dtype)
    right = torch.randn(256, 688).to(dtype)
    best = 0.0
    for _ in range(20):
        started = time.perf_counter()
        for _ in range(10):
            product(left, right)
        best = max(best, 10 * 2 * 2048 * 256 * 688 / (time.perf_counter() - started) / 1e9)
    return best


def gpu_gflops() -> float:
    """Rate of a large bfloat16 product of random numbers, median of a few: the GPU's limit."""
    side, times = 8192, 10
    left, right = (torch.randn(side, side, device="cuda").bfloat16() for _ in range(2))
    found = []
    for _ in range(5):
        left @ right
        torch.cuda.synchronize()
        started = time.perf_counter()
        for _ in range(times):
            left @ right
        torch.cuda.synchronize()
        found.append(times * 2 * side**3 / (time.perf_counter() - started) / 1e9)
    return statistics.median(found)


def contestants(
    folder: Path, *, work: Path, precision: str, device: str = "cpu"
) -> dict[str, list[str]]:
    """The command of each row, in the order they alternate.

    All compute in what they have that this processor multiplies fastest; without instructions for bfloat16, TRL's
    default, its preference models take more than three times as long. Of PPO it runs the other type, too, where that is
    float32; on a GPU with all its models loaded in bfloat16.
    """
    is_bfloat16 = precision == "bfloat16"
    kind = [] if is_bfloat16 else ["--float32"]
    ours = [sys.executable, "-m", "training.bench.ours", str(work)]
    rows = {name: [*ours, what, "--precision", precision] for name, what in OURS.items()}
    pm_python = rival_environment(
        folder / "trl-preference", requirements="requirements-trl-preference.txt"
    )
    if pm_python:
        theirs = [str(pm_python), str(RIVAL), str(work)]
        rows["trl_pm"] = [*theirs, "preference", *kind]
        rows["trl_pm_tuned"] = [*theirs, "preference_tuned", *kind]
    ppo_python = rival_environment(folder / "trl-ppo", requirements="requirements-trl-ppo.txt")
    if ppo_python:
        theirs = [str(ppo_python), str(RIVAL), str(work), "ppo"]
        if is_bfloat16:
            rows["trl_ppo"] = theirs
        if device == "cpu":
            rows["trl_ppo_float32"] = [*theirs, "--float32"]
        else:
            rows["trl_ppo_all_bfloat16"] = [*theirs, "--load-bfloat16"]
    return rows


def summary(found: dict[str, list[Found]], *, limits: list[float]) -> Found:
    """Medians and ratios; a ratio without its rival is left out."""

    def median(row: str, key: str) -> float | None:
        return statistics.median(each[key] for each in found[row]) if row in found else None

    def ratio(over: float | None, under: float | None) -> float | None:
        return round(over / under, 2) if over and under else None

    pm, gflops = median("pm", "pairs_per_second"), median("pm", "gflops")
    trl_ppo = [each for row in TRL_PPO if (each := median(row, "seconds_per_step"))]
    fastest = min(trl_ppo, default=None)
    memory = [each for row in TRL_PPO if (each := median(row, "peak_mib"))]
    least_memory = min(memory, default=None)
    numbers: Found = {
        "pm_pairs_per_second": round(pm, 2) if pm else None,
        "ppo_seconds_per_step": median("ppo", "seconds_per_step"),
        "pm_over_trl_default": ratio(pm, median("trl_pm", "pairs_per_second")),
        "pm_over_trl_tuned": ratio(pm, median("trl_pm_tuned", "pairs_per_second")),
        "pm_share_of_matmul_limit": ratio(gflops, statistics.median(limits)),
        "ppo_over_trl": ratio(fastest, median("ppo", "seconds_per_step")),
        "ppo_shared_over_trl": ratio(fastest, median("ppo_shared", "seconds_per_step")),
        "pm_peak_memory_over_trl": ratio(
            median("pm", "peak_mib"), median("trl_pm_tuned", "peak_mib")
        ),
        "ppo_peak_memory_over_trl": ratio(median("ppo", "peak_mib"), least_memory),
        "matmul_gflops": round(statistics.median(limits), 1),
    }
    return {name: value for name, value in numbers.items() if value is not None}


def main() -> None:
    """Prepare, alternate, print."""
    options = asked()
    device = options.device
    if device == "cuda" and options.precision not in (None, "bfloat16"):
        sys.exit(f"--precision {options.precision}: on a GPU both sides compute in bfloat16")
    precision = options.precision or (fastest_on_cpu() if device == "cpu" else "bfloat16")
    size = options.size or ("6m" if device == "cpu" else "1.1b")
    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        task = prepared(work, options=options, size=size)
        rows = contestants(options.environments, work=work, precision=precision, device=device)
        absent = set(options.rows or ()) - set(rows)
        if absent:
            sys.exit(f"--rows {' '.join(sorted(absent))}: here there are {' '.join(rows)}")
        rows = {name: each for name, each in rows.items() if name in (options.rows or rows)}
        found, limits = alternated(rows, options=options, precision=precision)
    versions |= {
        f"{row} {name}": version
        for row, each in found.items()
        for name, version in each[-1].get("versions", {}).items()
    }
    name = torch.cuda.get_device_name() if device == "cuda" else "cpu"
    measured = {
        "comparisons": options.comparisons, "precision": precision, "device": name, "size": size,
        "task": asdict(task),
    }  # fmt: skip
    print(json.dumps({**summary(found, limits=limits), **measured, "versions": versions}))


def alternated(
    rows: dict[str, list[str]], *, options: argparse.Namespace, precision: str
) -> tuple[dict[str, list[Found]], list[float]]:
    """What each row found, round by round, and the limit in each; a rival's row that fails is left out, and said."""
    found: dict[str, list[Found]] = {row: [] for row in rows}
    limits = []
    for repeat in range(options.repeats):
        limits.append(
            gpu_gflops()
            if options.device == "cuda"
            else matmul_gflops(threads=options.threads, precision=precision)
        )
        for row in list(found):
            try:
                found[row].append(child(rows[row], threads=options.threads))
            except ChildFailed as failed:
                if row in OURS:
                    sys.exit(str(failed))
                del found[row]
                print(f"{row} is left out: {failed}", file=sys.stderr, flush=True)
            else:
                print(repeat, row, json.dumps(found[row][-1]), flush=True)
    return found, limits


def prepared(work: Path, *, options: argparse.Namespace, size: str) -> Task:
    """Write what both sides do, or end with what is wrong with it."""
    try:
        task = replace(TASKS[options.device], **dict(options.set))
        write(work, comparisons=options.comparisons, hh=options.hh, size=SIZES[size], task=task)
    except (OSError, ValueError) as unlike:
        sys.exit(f"./start bench training: {unlike}")
    return task


def _setting(text: str) -> tuple[str, int]:
    name, _, number = text.partition("=")
    if name not in {each.name for each in fields(Task)} - {"device"}:
        raise argparse.ArgumentTypeError(f"{name} is not a number of a task")
    return name, int(number)


def asked() -> argparse.Namespace:
    """The command line."""
    called_from = Path(os.environ.get("CALLED_FROM", ""))  # ./start says it, and comes here
    parser = argparse.ArgumentParser(prog="./start bench training")
    parser.add_argument(
        "--hh",
        type=called_from.joinpath,
        help="a public HH file, .jsonl or .jsonl.gz; without it, random words",
    )
    parser.add_argument("--comparisons", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--precision",
        choices=("float32", "bfloat16", "int16"),
        help="by itself the fastest here; TRL has no int16",
    )
    parser.add_argument("--device", choices=tuple(TASKS), default="cpu")
    parser.add_argument("--size", choices=tuple(SIZES), help="6m, on a GPU 1.1b")
    parser.add_argument(
        "--set", nargs="+", action="extend", type=_setting, default=[], metavar="NAME=NUMBER",
        help="of the task that both sides do: training/bench/workload.py tells the names",
    )  # fmt: skip
    parser.add_argument("--rows", nargs="+", choices=ROWS, help="only these")
    parser.add_argument("--environments", type=called_from.joinpath, default=ROOT / "var" / "bench")
    return parser.parse_args()


if __name__ == "__main__":
    main()
