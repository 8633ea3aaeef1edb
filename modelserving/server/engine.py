"""The one thread that owns torch: runs every checkpoint's batch, scores, and takes checkpoints in and out.

The event loop talks to it through `submit`, `cancel`, `score` and `call`; it never waits for the event loop.
Does not know HTTP, text or the clock, which is passed in.
"""

import asyncio
import logging
import math
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

import torch

from modelserving.lm.preference_model import score_dialogues
from modelserving.lm.sampler import Event, PromptRead, SampleRequest, TokenDrawn
from modelserving.server.checkpoints import ServedCheckpoint, ServingLimits
from modelserving.server.errors import (
    GenerationFailed,
    Overloaded,
    Refused,
    ServingError,
    model_not_loaded,
)
from modelserving.server.fair_queue import QueueFull
from modelserving.server.jobs import Delivery, SampleJob, ScoreJob, deliver
from modelserving.server.metrics import Metrics

logger = logging.getLogger(__name__)

SCORES_PER_TURN = 32
T = TypeVar("T")
Command = Callable[[], None]


class Engine:
    """Loaded checkpoints and the thread that runs them."""

    def __init__(
        self, *, limits: ServingLimits, metrics: Metrics, clock: Callable[[], float]
    ) -> None:
        """Nothing is loaded and the thread is not started yet."""
        self.checkpoints: dict[str, ServedCheckpoint] = {}  # replaced, never changed in place
        self.limits = limits
        self.metrics = metrics
        self.clock = clock
        self.last_turn = clock()
        self.working = False
        self.last_failure: str | None = None  # cleared by the next token drawn
        self._commands: queue.SimpleQueue[Command | None] = queue.SimpleQueue()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    # --- called on the event loop ---------------------------------------------------------------------------------

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start the thread; answers go to `loop`."""
        self._loop = loop
        self._thread.start()

    def stop(self) -> None:
        """End the thread after its present turn."""
        self._commands.put(None)
        self._thread.join(timeout=10)

    def find(self, name: str) -> ServedCheckpoint:
        """The checkpoint of this name, if it takes requests."""
        found = self.checkpoints.get(name)
        if found is None or found.draining:
            raise model_not_loaded(name)
        return found

    def submit(self, job: SampleJob, *, checkpoint: ServedCheckpoint) -> None:
        """Queue a request for samples; refused by the queue, it is answered with an error at once."""
        self._commands.put(lambda: self._submit(job, checkpoint))

    def cancel(
        self, job: SampleJob, *, checkpoint: ServedCheckpoint, sample: int | None = None
    ) -> None:
        """Forget a request, or one of its samples."""
        self._commands.put(lambda: self._cancel(job, checkpoint, sample))

    def score(self, job: ScoreJob, *, checkpoint: ServedCheckpoint) -> None:
        """Queue dialogues for scoring."""
        self._commands.put(lambda: checkpoint.score_jobs.append(job))

    def call(self, function: Callable[[], T]) -> "Future[T]":
        """Run a function on the engine thread."""
        answer: Future[T] = Future()

        def run() -> None:
            if not answer.set_running_or_notify_cancel():
                return
            try:
                answer.set_result(function())
            except Exception as raised:  # noqa: BLE001 -- carried to the caller
                answer.set_exception(raised)

        self._commands.put(run)
        return answer

    # --- the thread -----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            self.working = any(each.is_busy for each in self.checkpoints.values())
            if not self._obey():
                return
            for checkpoint in list(self.checkpoints.values()):
                self._turn(checkpoint)
            self.last_turn = self.clock()

    def _obey(self) -> bool:
        """Run waiting commands; sleep until one comes when there is nothing else to do. False: the end."""
        while True:
            try:
                command = self._commands.get(block=not self.working)
            except queue.Empty:
                return True
            self.working = True  # what came may be work
            self.last_turn = self.clock()
            if command is None:
                return False
            command()

    def _turn(self, checkpoint: ServedCheckpoint) -> None:
        """One step of one checkpoint's batch and one helping of its scores."""
        try:
            if checkpoint.sampler is not None:
                self._sample(checkpoint)
            if checkpoint.score_jobs:
                self._score(checkpoint, checkpoint.score_jobs[0])
        except (torch.OutOfMemoryError, MemoryError) as full:
            self._fail(checkpoint, full, Overloaded(
                "out of memory: the running requests were dropped", code="out_of_memory", retry_after=5
            ))  # fmt: skip
        except (
            Exception
        ) as raised:  # a process boundary: one checkpoint's failure is not the others'
            error = "out of memory" if "not enough memory" in str(raised) else type(raised).__name__
            self._fail(
                checkpoint,
                raised,
                GenerationFailed(f"the engine failed: {error}", code="engine_failed"),
            )
        if checkpoint.draining and not checkpoint.is_busy:
            self._drop(checkpoint)

    def _sample(self, checkpoint: ServedCheckpoint) -> None:
        sampler = checkpoint.sampler
        assert sampler is not None
        while sampler.running + sampler.waiting < sampler.max_rows:
            job = checkpoint.queue.take(running=checkpoint.running_by_user)
            if job is None:
                break
            checkpoint.running[job.key] = job
            checkpoint.running_by_user[job.user] += len(job.live)
            sampler.add(job.request)
        if not checkpoint.running:
            return
        events = sampler.step()
        checkpoint.used_at = self.clock()
        self._settle(checkpoint, events)

    def _settle(self, checkpoint: ServedCheckpoint, events: list[Event]) -> None:
        """Hand events to their requests; drop those whose numbers make no sense."""
        by_job: dict[str, list[Event]] = {}
        broken: set[str] = set()
        for event in events:
            by_job.setdefault(event.key, []).append(event)
            if isinstance(event, TokenDrawn) and not math.isfinite(event.logprob):
                broken.add(event.key)
        now, drawn = self.clock(), 0
        deliveries: list[tuple[SampleJob, Delivery]] = []
        for key, own in by_job.items():
            job = checkpoint.running.get(key)
            if job is None:
                continue
            if key in broken:
                error = GenerationFailed(
                    "the model computed something that is not a number", code="not_finite"
                )
                self._cancel(job, checkpoint, None)
                deliveries.append((job, error))
                self.last_failure = error.message
                continue
            drawn += self._note(checkpoint, job, own, now=now)
            deliveries.append((job, own))
        if drawn:
            self.metrics.drawn(drawn, now=now)
            self.last_failure = None
        self._post(deliveries)

    def _note(
        self, checkpoint: ServedCheckpoint, job: SampleJob, events: list[Event], *, now: float
    ) -> int:
        """Keep a request's books; return its tokens drawn."""
        tokens = [event for event in events if isinstance(event, TokenDrawn)]
        if tokens and not job.saw_token:
            job.saw_token = True
            self.metrics.first_token_after(now - job.submitted)
        ended = {event.sample for event in tokens if event.finish}
        if job.request.max_tokens == 0 and any(isinstance(event, PromptRead) for event in events):
            ended = set(job.live)
        self._end(checkpoint, job, ended)
        return len(tokens)

    def _end(self, checkpoint: ServedCheckpoint, job: SampleJob, samples: set[int]) -> None:
        ended = samples & job.live
        if job.key not in checkpoint.running or not ended:
            return
        job.live -= ended
        checkpoint.running_by_user[job.user] -= len(ended)
        if checkpoint.running_by_user[job.user] <= 0:
            del checkpoint.running_by_user[job.user]
        if not job.live:
            del checkpoint.running[job.key]
            self.metrics.finished_after(self.clock() - job.submitted)

    def _submit(self, job: SampleJob, checkpoint: ServedCheckpoint) -> None:
        job.live = set(range(len(job.request.seeds)))
        checkpoint.used_at = self.clock()
        if self.checkpoints.get(checkpoint.name) is not checkpoint or checkpoint.draining:
            self._post([(job, model_not_loaded(checkpoint.name))])
            return
        try:
            checkpoint.queue.put(job)
        except QueueFull as full:
            self.metrics.count("requests_refused")
            error = Overloaded(f"{full}: try again later", code="queue_full", retry_after=2)
            self._post([(job, error)])

    def _cancel(self, job: SampleJob, checkpoint: ServedCheckpoint, sample: int | None) -> None:
        checkpoint.queue.remove(job.key)
        if job.key not in checkpoint.running:
            return
        assert checkpoint.sampler is not None
        checkpoint.sampler.cancel(job.key, sample=sample)
        self._end(checkpoint, job, set(job.live) if sample is None else {sample})

    def _score(self, checkpoint: ServedCheckpoint, job: ScoreJob) -> None:
        part = job.dialogues[len(job.scores) : len(job.scores) + SCORES_PER_TURN]
        checkpoint.used_at = self.clock()
        if not job.answer.cancelled():
            try:
                job.scores += score_dialogues(checkpoint.loaded, part).tolist()
            except ValueError as wrong:
                checkpoint.score_jobs.popleft()
                job.answer.set_exception(wrong)
                return
        if job.answer.cancelled() or len(job.scores) == len(job.dialogues):
            checkpoint.score_jobs.popleft()
            if not job.answer.cancelled():
                self.metrics.count("dialogues_scored", len(job.scores))
                job.answer.set_result(job.scores)

    def _fail(
        self, checkpoint: ServedCheckpoint, raised: BaseException, error: ServingError
    ) -> None:
        logger.error("checkpoint %s failed", checkpoint.name, exc_info=raised)
        self.metrics.count("engine_failures")
        self.last_failure = error.message
        self._post([(job, error) for job in checkpoint.running.values()])
        checkpoint.running.clear()
        checkpoint.running_by_user.clear()
        if checkpoint.sampler is not None:
            checkpoint.sampler.clear()
        for job in checkpoint.score_jobs:
            if not job.answer.cancelled():
                job.answer.set_exception(error)
        checkpoint.score_jobs.clear()

    def _post(self, deliveries: list[tuple[SampleJob, Delivery]]) -> None:
        if deliveries and self._loop is not None:
            self._loop.call_soon_threadsafe(deliver, deliveries)

    # --- checkpoints in and out, on the thread --------------------------------------------------------------------

    def adopt(self, checkpoint: ServedCheckpoint) -> None:
        """Warm a checkpoint up with a real token or score, make room for it, and serve it."""
        warm_up(checkpoint)
        self.make_room(checkpoint.bytes_used)
        self.checkpoints = {**self.checkpoints, checkpoint.name: checkpoint}
        self.metrics.count("checkpoints_loaded")

    def make_room(self, wanted: int) -> None:
        """Unload the checkpoints used longest ago until `wanted` bytes fit; never one that is in use."""
        for candidate in sorted(self.checkpoints.values(), key=lambda each: each.used_at):
            if self.bytes_used + wanted <= self.limits.memory_bytes:
                return
            if not candidate.is_busy:
                self._drop(candidate)
        if self.bytes_used + wanted > self.limits.memory_bytes:
            raise Overloaded(
                f"{wanted} bytes do not fit into the memory budget of {self.limits.memory_bytes} while "
                "other checkpoints are in use: try later or raise --memory-budget",
                code="memory_budget",
                retry_after=10,
            )

    @property
    def bytes_used(self) -> int:
        """Memory of everything that is loaded."""
        return sum(each.bytes_used for each in self.checkpoints.values())

    def unload(self, name: str) -> None:
        """Take no new requests for a checkpoint and drop it when the running ones are done."""
        checkpoint = self.find(name)
        checkpoint.draining = True
        if not checkpoint.is_busy:
            self._drop(checkpoint)

    def _drop(self, checkpoint: ServedCheckpoint) -> None:
        self.checkpoints = {k: v for k, v in self.checkpoints.items() if v is not checkpoint}
        self.metrics.count("checkpoints_unloaded")


def warm_up(checkpoint: ServedCheckpoint) -> None:
    """Draw one token or compute one score; refuse a checkpoint whose numbers make no sense."""
    if checkpoint.sampler is None:
        dialogue = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi"}]
        value = float(score_dialogues(checkpoint.loaded, [dialogue])[0])
    else:
        prompt = tuple(checkpoint.loaded.tokenizer.encode("Hello"))
        checkpoint.sampler.add(
            SampleRequest(key="warm-up", prompt=prompt, seeds=(0,), max_tokens=2)
        )
        events = checkpoint.sampler.step()
        value = next(event.logprob for event in events if isinstance(event, TokenDrawn))
        checkpoint.sampler.cancel("warm-up")
    if not math.isfinite(value):
        raise Refused("the first token of the warm-up is not a number", code="not_finite")
