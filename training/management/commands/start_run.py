"""`manage.py start_run KIND --release NAME`: start a run as the console does, and wait for it if asked.

Parses arguments and prints progress. Exit codes: 0 started or done, 1 refused or failed, 2 wrong arguments.
"""

import json
import time
from argparse import ArgumentTypeError
from threading import Thread
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from comparisons.models import DatasetRelease
from modelserving.models import Checkpoint
from modelserving.registry import CheckpointNotRegistered
from training import process, run_files
from training.models import TrainingRun
from training.services import RunRefused, RunRequest, find_checkpoint, start_run

ENDED = {TrainingRun.State.DONE, TrainingRun.State.STOPPED, TrainingRun.State.FAILED}
PM = Checkpoint.Kind.PREFERENCE_MODEL
INTERRUPTED = 130  # as a shell reports Ctrl-C
NO_WORKER_AFTER = 10.0  # seconds in the queue before we say that nobody takes the run


def _pair(text: str) -> tuple[str, str]:
    key, separator, value = text.partition("=")
    if not separator:
        raise ArgumentTypeError(f"{text!r}: write key=value")
    return key.strip(), value.strip()


class Command(BaseCommand):
    """Start a training run."""

    help = "Start a training run of KIND; --wait shows its progress and ends with its outcome."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "kind", metavar="KIND", choices=TrainingRun.Kind.values,
            help=f"one of {', '.join(TrainingRun.Kind.values)}",
        )  # fmt: skip
        parser.add_argument("--release", default="", help="name of a frozen release")
        parser.add_argument("--preset", default="demo", help="named configuration of the kind")
        parser.add_argument(
            "--set", action="append", type=_pair, default=[], metavar="KEY=VALUE",
            help="a value of the configuration, as often as needed, such as steps=10",
        )  # fmt: skip
        parser.add_argument(
            "--initial", default="", help="checkpoint by hash or name; the starter if left out"
        )
        parser.add_argument(
            "--ranker", default="", help="preference model by hash, name or `latest`"
        )
        parser.add_argument("--test-pm", default="", help="held-out preference model")
        parser.add_argument(
            "--questions",
            default="",
            help="question set of an evaluation, as import_questions named it",
        )
        parser.add_argument("--name", default="", help="what the run and its checkpoint are called")
        parser.add_argument("--wait", action="store_true", help="wait for the end, with progress")
        parser.add_argument(
            "--here", action="store_true", help="train in this process, without a worker"
        )
        parser.add_argument("--json", action="store_true", help="print the outcome as JSON")

    def handle(self, *_args: Any, **options: Any) -> None:
        try:
            run = start_run(self._request(options), requested_by=None)
        except (RunRefused, CheckpointNotRegistered) as refused:
            raise CommandError(str(refused)) from None
        self.stderr.write(f"Run {run.public_id} ({run.get_kind_display()}) is queued.")
        if options["here"]:
            self._train_here(run, is_watched=options["wait"])
        elif options["wait"]:
            try:
                self._wait(run)
            except KeyboardInterrupt:
                self.stderr.write(
                    f"Run {run.pk} goes on; `./start manage stop_run {run.pk}` ends it after its step."
                )
                raise SystemExit(INTERRUPTED) from None
        run.refresh_from_db()
        self._report(run, as_json=options["json"])

    def _request(self, options: dict[str, Any]) -> RunRequest:
        release = None
        if options["release"]:
            release = DatasetRelease.objects.filter(name=options["release"]).first()
            if release is None:
                known = (
                    ", ".join(DatasetRelease.objects.values_list("name", flat=True)[:5])
                    or "none yet"
                )
                raise CommandError(
                    f"No release is called {options['release']!r} (there are: {known})."
                )
        return RunRequest(
            kind=options["kind"],
            preset=options["preset"],
            overrides=dict(options["set"]),
            release=release,
            initial=find_checkpoint(options["initial"]) if options["initial"] else None,
            ranker=find_checkpoint(options["ranker"], kind=PM) if options["ranker"] else None,
            test_pm=find_checkpoint(options["test_pm"], kind=PM) if options["test_pm"] else None,
            questions=options["questions"],
            name=options["name"],
        )

    def _train_here(self, run: TrainingRun, *, is_watched: bool) -> None:
        """Train in this process; a thread tells how far it is, from the same rows as anybody."""
        if is_watched:
            watched = TrainingRun.objects.get(pk=run.pk)
            Thread(target=self._wait, args=[watched], daemon=True).start()
        process.execute(run.pk)

    def _wait(self, run: TrainingRun) -> None:
        began, shown = time.monotonic(), ""
        while run.state not in ENDED:
            time.sleep(0.5)
            run.refresh_from_db()
            line = _progress(run)
            if run.state == TrainingRun.State.QUEUED and time.monotonic() - began > NO_WORKER_AFTER:
                line = _why_it_waits(run)
            if line != shown:
                self.stderr.write(line)
                shown = line

    def _report(self, run: TrainingRun, *, as_json: bool) -> None:
        outcome = {
            "run": str(run.public_id),
            "kind": run.kind,
            "state": run.state,
            "reason": run.reason,
            "checkpoint": run.checkpoint.hash if run.checkpoint else None,
            "directory": str(run_files.directory_of(run)),
            "results": run.results,
        }
        if as_json:
            self.stdout.write(json.dumps(outcome, indent=2))
        else:
            for key, value in outcome.items():
                self.stdout.write(f"{key}: {value}")
        if run.state == TrainingRun.State.FAILED:
            raise CommandError(f"The run failed: {run.reason}")


def _why_it_waits(run: TrainingRun) -> str:
    going = TrainingRun.objects.filter(state=TrainingRun.State.RUNNING).first()
    if going is None:
        return "queued: no training worker takes it. Start one with `./start`, or use --here."
    ahead = TrainingRun.objects.filter(state=TrainingRun.State.QUEUED, pk__lt=run.pk).count()
    return f"queued behind run {going.public_id} and {ahead} more that wait"


def _progress(run: TrainingRun) -> str:
    step, total = run.progress.get("step"), run.progress.get("total_steps")
    if run.state != TrainingRun.State.RUNNING or not total:
        return f"{run.get_state_display()}{': ' + run.reason if run.reason else ''}"
    filled = int(20 * step / total)
    left = run.progress.get("seconds_left")
    remaining = f", about {left / 60:.0f} min {left % 60:.0f} s left" if left is not None else ""
    bar = "#" * filled + "." * (20 - filled)
    return f"[{bar}] {run.progress.get('phase', '')} {step} of {total}{remaining}"
