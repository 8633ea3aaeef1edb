"""`./start test`: every check and test that must pass, two at a time, then what needs the machine alone.

Knows commands and their outcomes; knows nothing of what is tested.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from labelapp.supervisor.postgresql import NoPostgresql, own_postgresql

PYTHON = sys.executable
CHROMIUM = Path("/usr/bin/chromium")
HERE = ("-m", "pytest", "-q", "--no-header")
FAST = "not walk and not fault and not browser and not release"
NOT_RELEASE = "not release"
# each in a run of its own, which reads no more files than it needs; the rest in another
FOLDERS = {
    "training": ("tests/training",), "browser": ("tests/browser",),
    "model server": ("tests/modelserving",), "walks and faults": ("tests/walks", "tests/faults"),
}  # fmt: skip
ALONE = (  # they time what they do
    "tests/browser/test_speed.py", "tests/labelapp/test_bench_web.py", "tests/walks/test_load.py",
)  # fmt: skip
AT_ONCE = 2
TAIL_LINES = 12


@dataclass(frozen=True, kw_only=True)
class Step:
    """One command of the suite."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    report: Path | None = None  # where pytest writes its counts


@dataclass(kw_only=True)
class Outcome:
    """What became of a step."""

    step: Step
    is_good: bool
    seconds: float
    output: str
    passed: int = 0
    failed: int = 0
    skipped: int = 0


def run_checks(words: Sequence[str]) -> int:
    """Run everything; the exit code is 0 only when all of it passed."""
    parser = argparse.ArgumentParser(prog="./start test")
    parser.add_argument("--release", action="store_true", help="the long tests too")
    parser.add_argument("--no-postgresql", action="store_true", help="SQLite only")
    options = parser.parse_args(words)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="labelapp-checks-") as scratch:
        reports = Path(scratch)
        run = partial(_run, scratch=reports)
        with _postgresql(is_wanted=not options.no_postgresql) as database_url:
            beside = [
                *_static_checks(),
                *(
                    _pytest(name, reports, *paths, "-m", NOT_RELEASE, *_without(ALONE))
                    for name, paths in FOLDERS.items()
                ),
                *_database_tests(reports, database_url),
                _pytest(
                    "tests",
                    reports,
                    "tests",
                    "-m",
                    NOT_RELEASE,
                    *_without(ALONE, *FOLDERS.values()),
                ),
            ]
            with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
                outcomes = list(pool.map(run, beside))
            # one by one: the loop of a browser's test would stand in the way of the load's
            outcomes += [
                run(_pytest(Path(each).stem, reports, each, "-m", NOT_RELEASE)) for each in ALONE
            ]
            if options.release:
                outcomes.append(
                    run(_pytest("release", reports, "tests", "-m", "release", "--timeout=3600"))
                )
    return _summary(outcomes, seconds=time.monotonic() - began)


def _static_checks() -> list[Step]:
    tool = Path(PYTHON).parent
    deploy = {"PUBLIC_URL": "https://labels.example.org", "SECRET_KEY": "check-" * 12}
    return [
        Step(name="ruff", command=(str(tool / "ruff"), "check", ".")),
        Step(name="format", command=(str(tool / "ruff"), "format", "--check", ".")),
        Step(name="types", command=(str(tool / "mypy"),)),
        Step(name="imports", command=(str(tool / "lint-imports"), "--no-cache")),
        _manage("migrations", "makemigrations", "--check", "--dry-run"),
        _manage("deployment", "check", "--deploy", "--fail-level", "WARNING", environment=deploy),
    ]


def _manage(name: str, *words: str, environment: Mapping[str, str] | None = None) -> Step:
    command = (PYTHON, "-W", "ignore", "manage.py", *words)
    return Step(name=name, command=command, environment=environment or {})


def _database_tests(reports: Path, database_url: str) -> list[Step]:
    if not database_url:
        return []
    return [
        _pytest("tests on PostgreSQL", reports, "tests", "-m", FAST, "--database-only",
                environment={"DATABASE_URL": database_url})
    ]  # fmt: skip


def _pytest(
    name: str, reports: Path, *words: str, environment: Mapping[str, str] | None = None
) -> Step:
    report = reports / f"{name.replace(' ', '-')}.xml"
    command = (PYTHON, *HERE, *words, f"--junitxml={report}", "--durations=5")
    return Step(name=name, command=command, environment=environment or {}, report=report)


def _without(*folders: Sequence[str]) -> list[str]:
    return [f"--ignore={path}" for paths in folders for path in paths]


def _run(step: Step, *, scratch: Path) -> Outcome:
    began = time.monotonic()
    own = {
        "LABELAPP_VAR": str(scratch / "var"), "OMP_NUM_THREADS": "1",
        "TESTS_COMPILED": str(scratch / "compiled"),  # by the first for all others
    }  # fmt: skip
    environment = {**os.environ, **own, **step.environment}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # hundreds of processes read the same sources
    done = subprocess.run(
        step.command, env=environment, stdin=subprocess.DEVNULL, capture_output=True,
        text=True, errors="replace", check=False,
    )  # fmt: skip
    outcome = Outcome(
        step=step, is_good=done.returncode == 0, seconds=time.monotonic() - began,
        output=done.stdout + done.stderr,
    )  # fmt: skip
    _read_counts(outcome)
    if step.report is not None and done.returncode == 5 and not outcome.failed:
        outcome.is_good = True  # pytest found none with these marks
    _print(outcome)
    return outcome


def _read_counts(outcome: Outcome) -> None:
    report = outcome.step.report
    if report is None or not report.exists():
        outcome.failed = 0 if outcome.is_good else 1
        return
    suite = ET.parse(report).getroot().find("testsuite")  # noqa: S314 -- we wrote it
    assert suite is not None
    number = {
        name: int(suite.get(name, "0")) for name in ("tests", "failures", "errors", "skipped")
    }
    outcome.failed = number["failures"] + number["errors"]
    outcome.skipped = number["skipped"]
    outcome.passed = number["tests"] - outcome.failed - outcome.skipped


def _print(outcome: Outcome) -> None:
    lines = outcome.output.strip().splitlines()
    shown = lines[-TAIL_LINES:] if outcome.is_good else lines
    verdict = "ok" if outcome.is_good else "FAILED"
    head = f"--- {outcome.step.name}: {verdict} ({outcome.seconds:.0f} s)"
    sys.stdout.write("\n".join([head, *shown, ""]) + "\n")
    sys.stdout.flush()


def _summary(outcomes: Sequence[Outcome], *, seconds: float) -> int:
    bad = [outcome.step.name for outcome in outcomes if not outcome.is_good]
    if not CHROMIUM.exists():
        sys.stdout.write(f"!!! BROWSER TESTS WERE SKIPPED: there is no {CHROMIUM}; install it\n")
    for outcome in outcomes:
        verdict = "ok" if outcome.is_good else "FAILED"
        sys.stdout.write(f"{outcome.seconds:6.0f} s  {outcome.step.name:<22} {verdict}\n")
    sys.stdout.write(f"{seconds:6.0f} s  in all\n")
    if bad:
        sys.stdout.write(f"failed: {', '.join(bad)}\n")
    passed, failed, skipped = (
        sum(getattr(outcome, name) for outcome in outcomes)
        for name in ("passed", "failed", "skipped")
    )
    failed = max(failed, len(bad))
    sys.stdout.write(f"{passed} passed, {failed} failed, {skipped} skipped\n")
    return 1 if bad else 0


@contextmanager
def _postgresql(*, is_wanted: bool) -> Iterator[str]:
    """A real PostgreSQL for the tests: DATABASE_URL's, or the one that comes as a package."""
    given = os.environ.get("DATABASE_URL", "")
    if given or not is_wanted:
        yield given
        return
    try:
        with own_postgresql() as address:
            yield address
    except NoPostgresql as missing:
        sys.stdout.write(f"!!! TESTS ON POSTGRESQL ARE SKIPPED: {missing}\n")
        yield ""
