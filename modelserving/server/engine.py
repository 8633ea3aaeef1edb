"""The one thread that owns torch: runs each checkpoint's turns and takes checkpoints in and out.

The event loop talks to it through `submit`, `cancel`, `score` and `call`; it never waits for the
event loop. Does not know HTTP, text or the clock, which is passed in.
"""

import asyncio
import logging
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import TypeVar

from modelserving.server.calls import Call
from modelserving.server.checkpoints import ServedCheckpoint, ServingLimits
from modelserving.server.device import is_out_of_memory, still_computes
from modelserving.server.errors import (
    Conflict,
    GenerationFailed,
    Overloaded,
    model_not_loaded,
    shutting_down,
)
from modelserving.server.jobs import Delivery, SampleJob, ScoreJob, deliver
from modelserving.server.memory import Memory
from modelserving.server.metrics import Metrics
from modelserving.server.turns import Turns, refuse, warm_up

logger = logging.getLogger(__name__)

Command = Callable[[], None]
T = TypeVar("T")


class Engine:
    """Loaded checkpoints and the thread that runs them."""

    def __init__(
        self, *, limits: ServingLimits, metrics: Metrics, clock: Callable[[], float]
    ) -> None:
        """Nothing is loaded and the thread is not started yet."""
        self.memory = Memory(limit=limits.memory_bytes, metrics=metrics)
        self.limits = limits
        self.metrics = metrics
        self.clock = clock
        self.last_turn = clock()
        self.working = False
        self.lost = False  # the thread or the device: only a new process helps
        self._turns = Turns(metrics=metrics, clock=clock, post=self._post, memory=self.memory)
        self._commands: queue.SimpleQueue[Command | None] = queue.SimpleQueue()
        self._ending, self._has_ended = threading.Lock(), False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    # --- called on the event loop -----------------------------------------------------------------

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start the thread; answers go to `loop`."""
        self._loop = loop
        self._thread.start()

    def stop(self) -> None:
        """End the thread after its present turn."""
        self._commands.put(None)
        self._thread.join(timeout=10)
        with self._ending:
            self._has_ended = True
            while not self._commands.empty():
                command = self._commands.get()
                if isinstance(command, Call):  # somebody may wait for it
                    command.refuse(shutting_down())
            self._commands.put(None)  # for a thread that was in a long turn

    @property
    def last_failure(self) -> str | None:
        """What went wrong in the last turn of some checkpoint."""
        return next((each.failure for each in self.checkpoints.values() if each.failure), None)

    @property
    def is_failing(self) -> bool:
        """Whether something is loaded and the last turn of each failed: nothing can be answered."""
        loaded = list(self.checkpoints.values())
        return bool(loaded) and all(each.failure for each in loaded)

    @property
    def checkpoints(self) -> dict[str, ServedCheckpoint]:
        """What is loaded, by name."""
        return self.memory.checkpoints

    @property
    def bytes_used(self) -> int:
        """Memory of everything that is loaded."""
        return self.memory.bytes_used

    def is_moving(self, *, within: float) -> bool:
        """Whether the thread has nothing to do, or ended a turn in the last seconds."""
        return not self.working or self.clock() - self.last_turn < within

    def find(self, name: str) -> ServedCheckpoint:
        """The checkpoint of this name, if it takes requests."""
        found = self.checkpoints.get(name)
        if found is None or found.draining:
            raise model_not_loaded(name)
        return found

    def submit(self, jobs: Sequence[SampleJob], *, checkpoint: ServedCheckpoint) -> None:
        """Queue the jobs of one call; refused by the queue, they are answered with an error."""
        self._commands.put(lambda: self._submit(jobs, checkpoint))

    def cancel(
        self, job: SampleJob, *, checkpoint: ServedCheckpoint, sample: int | None = None
    ) -> None:
        """Forget a request, or one of its samples."""
        self._commands.put(lambda: self._turns.cancel(job, checkpoint, sample))

    def score(self, job: ScoreJob, *, checkpoint: ServedCheckpoint) -> None:
        """Queue dialogues for scoring."""
        self._commands.put(lambda: self._submit_scores(job, checkpoint))

    def call(self, function: Callable[[], T]) -> "Future[T]":
        """Run a function on the engine thread; refused once that has ended."""
        call = Call(function)
        with self._ending:
            if self._has_ended:
                call.refuse(shutting_down())
            else:
                self._commands.put(call)
        return call.answer

    # --- the thread -------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._serve()
        except Exception:
            logger.critical("the engine thread ended", exc_info=True)
            self.lost = True

    def _serve(self) -> None:
        while True:
            self.working = any(each.is_busy for each in self.memory.every)
            if not self._obey():
                return
            for checkpoint in self.memory.every:
                self._turn(checkpoint)
            self.last_turn = self.clock()

    def _obey(self) -> bool:
        """Run waiting commands; sleep until one comes if there is nothing to do. False: the end."""
        while True:
            try:
                command = self._commands.get(block=not self.working)
            except queue.Empty:
                return True
            self.last_turn = self.clock()  # before `working`: the watchdog reads both
            self.working = True  # what came may be work
            if command is None:
                return False
            command()

    def _turn(self, checkpoint: ServedCheckpoint) -> None:
        """One step of one checkpoint's batch and one row of its scores."""
        try:
            if checkpoint.sampler is not None:
                self._turns.sample(checkpoint)
            if checkpoint.score_jobs:
                self._turns.score(checkpoint)
        except Exception as raised:  # noqa: BLE001 -- a process boundary: others are served on
            if is_out_of_memory(raised):
                text = "out of memory: the running requests were dropped, try again"
                error = Overloaded(text, code="out_of_memory", retry_after=5)
                self._turns.fail(checkpoint, raised, error)
            else:
                text = f"the engine failed: {type(raised).__name__}"
                failed = GenerationFailed(text, code="engine_failed")
                self._look_at_device(checkpoint)
                if checkpoint.score_jobs and not self.lost:
                    self._turns.fail_first_score(checkpoint, raised, failed)
                else:
                    self._turns.fail(checkpoint, raised, failed)
        if checkpoint.draining and not checkpoint.is_busy:
            self.memory.drop(checkpoint)

    def _look_at_device(self, checkpoint: ServedCheckpoint) -> None:
        """After a failure: whether the device is lost with it."""
        self.lost = self.lost or not still_computes(checkpoint.loaded.model.device)

    def _submit(self, jobs: Sequence[SampleJob], checkpoint: ServedCheckpoint) -> None:
        if self.checkpoints.get(checkpoint.name) is not checkpoint or checkpoint.draining:
            self._post([(job, model_not_loaded(checkpoint.name)) for job in jobs])
            return
        self._turns.submit(jobs, checkpoint)

    def _submit_scores(self, job: ScoreJob, checkpoint: ServedCheckpoint) -> None:
        if self.checkpoints.get(checkpoint.name) is not checkpoint or checkpoint.draining:
            refuse(job, model_not_loaded(checkpoint.name))
            return
        if len(checkpoint.score_jobs) >= self.limits.queue:
            self.metrics.count("requests_refused")
            text = "the queue of scores is full: try again later"
            refuse(job, Overloaded(text, code="queue_full", retry_after=2))
            return
        checkpoint.score_jobs.append(job)

    def _post(self, deliveries: list[tuple[SampleJob, Delivery]]) -> None:
        if deliveries and self._loop is not None:
            self._loop.call_soon_threadsafe(deliver, deliveries)

    # --- checkpoints in and out, on the thread ----------------------------------------------------

    def adopt(self, checkpoint: ServedCheckpoint) -> None:
        """Warm a checkpoint up with a real token or score, make room for it, and serve it."""
        base = checkpoint.base
        if base is not None and (base.draining or self.checkpoints.get(base.name) is not base):
            raise Overloaded("the adapter's base was unloaded meanwhile: try again", code="no_base")
        try:
            warm_up(checkpoint)
        except Exception:
            self._look_at_device(checkpoint)
            raise
        self.memory.make_room(checkpoint.bytes_used, wanted_too=base)
        self.memory.put(checkpoint)

    def try_again(self) -> None:
        """Where nothing can be answered, see whether that is so still, as nobody may ask any more."""
        if self.is_failing:
            for each in self.checkpoints.values():
                self._turns.try_again(each)

    def unload(self, name: str) -> None:
        """Take no new requests for a checkpoint and drop it when the running ones are done."""
        checkpoint = self.find(name)
        if self.memory.is_base(checkpoint):
            adapters = [each.name for each in self.checkpoints.values() if each.base is checkpoint]
            raise Conflict(
                f"{name!r} is the base of {', '.join(adapters)}: unload these first",
                code="base_in_use",
            )
        checkpoint.draining = True
        if not checkpoint.is_busy:
            self.memory.drop(checkpoint)
