"""The whole loop by console and browser on real data, as a transcript: import, release, PM, ranker, PPO, trial, promotion.

`.venv/bin/python -m tests.walks.console_walk --data DIR --out DIR [--small] [--kills] [--var DIR]`, where DIR holds the
four public HH files. Starts `./start demo` on a folder and port of its own, stops it afterwards, and leaves
transcript.md and screenshots in OUT. Knows the order of the steps; how each is done is next door.
"""

import argparse
import gzip
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.walks import console_steps as steps
from tests.walks.console_browser import CHROMIUM, Visitors
from tests.walks.console_outside import look_from_outside
from tests.walks.console_transcript import Transcript
from tests.walks.instance import RunningProduct, every_process

HH_FILES = {
    "helpful-base": ("helpful", "base"), "helpful-rejection-sampled": ("helpful", "rejection_sampled"),
    "helpful-online": ("helpful", "online"), "harmless-base": ("harmless", "base"),
}  # fmt: skip
FEW_LINES = 100  # of each file, with --small


def main(words: list[str]) -> int:
    """Walk; the exit code is 0 when every step went as it must and nothing is left to complain of."""
    options = _options(words)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))
    out: Path = options.out.resolve()
    transcript = Transcript(out, title="The whole loop from the console")
    scratch = Path(tempfile.mkdtemp(prefix="console-walk-"))
    product = RunningProduct((options.var or scratch / "var").resolve(), launcher=("./start",))
    data = _few(options.data, scratch) if options.small else options.data
    try:
        problems = _walk(product, transcript, data=data, out=out, options=options)
    except BaseException as broken:
        transcript.say(f"**broke off**: {type(broken).__name__}: {str(broken)[:2000]}")
        transcript.quote(product.terminal()[-3000:] if product.output.exists() else "no output")
        raise
    finally:
        _keep_logs(product, out)
        shutil.rmtree(scratch, ignore_errors=True)
    transcript.heading("Outcome")
    for problem in problems:
        transcript.say(f"**not as it must be**: {problem}")
    transcript.say("everything went as it must" if not problems else f"{len(problems)} problems")
    return 1 if problems else 0


def _options(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests.walks.console_walk", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with the four HH files")
    parser.add_argument("--out", type=Path, required=True, help="for transcript.md and screenshots")
    parser.add_argument("--var", type=Path, help="keep the instance's folder here")
    parser.add_argument("--small", action="store_true", help="few comparisons, tiny runs: minutes")
    parser.add_argument("--kills", action="store_true", help="kill -9 each process on the way")
    options = parser.parse_args(words)
    missing = [name for name in HH_FILES if not (options.data / f"{name}.jsonl.gz").is_file()]
    if missing:
        parser.error(f"{options.data} lacks {', '.join(missing)} (.jsonl.gz)")
    if not Path(CHROMIUM).exists():
        parser.error(f"there is no {CHROMIUM}")
    return options


def _walk(
    product: RunningProduct, transcript: Transcript, *, data: Path, out: Path, options: argparse.Namespace
) -> list[str]:  # fmt: skip
    walk = steps.Walk(
        product=product, transcript=transcript, is_small=options.small, has_kills=options.kills
    )
    steps.start(walk)
    try:
        with sync_playwright() as playwright:
            visitors = Visitors(playwright, base_url=product.base_url, shots=out / "screenshots")
            steps.sign_in(walk, visitors)
            steps.import_files(walk, data, HH_FILES)
            steps.cut_release(walk)
            steps.train_preference_model(walk)
            steps.rank_with_it(walk)
            steps.train_policy(walk)
            steps.try_promote_roll_back(walk)
            look_from_outside(walk)
            steps.examine(walk)
            visitors.close()
    finally:
        _stop(walk)
    return walk.problems


def _stop(walk: steps.Walk) -> None:
    if walk.product.process.poll() is not None:
        walk.problems.append("the supervisor ended by itself")
        return
    began = time.monotonic()
    code = walk.product.stop()
    left = [each for each in every_process() if str(walk.product.var) in each[2]]
    walk.transcript.say(
        f"SIGTERM: exit code {code} after {time.monotonic() - began:.1f} s, {len(left)} processes left"
    )
    if code or left:
        walk.problems.append(f"SIGTERM left {left or 'nothing'}, exit code {code}")


def _few(data: Path, scratch: Path) -> Path:
    folder = scratch / "few"
    folder.mkdir()
    for name in HH_FILES:
        with gzip.open(data / f"{name}.jsonl.gz", "rb") as whole:
            few = [line for line, _ in zip(whole, range(FEW_LINES), strict=False)]
        with gzip.open(folder / f"{name}.jsonl.gz", "wb") as part:
            part.writelines(few)
    return folder


def _keep_logs(product: RunningProduct, out: Path) -> None:
    if product.output.exists():
        shutil.copy(product.output, out / "terminal.txt")
    if (product.var / "log").is_dir():
        shutil.copytree(product.var / "log", out / "log", dirs_exist_ok=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
