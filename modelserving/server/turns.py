"""One turn of one checkpoint on the engine thread: a step of its batch, or a row of dialogues to score.

Keeps the books of what runs for whom. Does not know threads, HTTP or the clock, which is passed in.
"""

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from modelserving.lm.sample_requests import Event, PromptRead, SampleRequest, TokenDrawn
from modelserving.lm.sampler import Sampler
from modelserving.server.checkpoints import ServedCheckpoint
from modelserving.server.errors import GenerationFailed, Overloaded, Refused, ServingError
from modelserving.server.fair_queue import QueueFull
from modelserving.server.jobs import Delivery, Part, SampleJob, ScoreJob, parts_of
from modelserving.server.memory import Memory
from modelserving.server.metrics import Metrics

logger = logging.getLogger(__name__)

SHARE_OF_ONE_USER = 0.75  # of the rows; the rest is there for whoever comes next
Post = Callable[[list[tuple[SampleJob, Delivery]]], None]


class Turns:
    """What the engine thread does for a checkpoint, turn by turn."""

    def __init__(
        self,
        *,
        metrics: Metrics,
        clock: Callable[[], float],
        post: Post,
        memory: Memory,
    ) -> None:
        """`post` carries answers to the event loop; `memory` says what may run beside what is loaded."""
        self._metrics = metrics
        self._memory = memory
        self._clock = clock
        self._post = post

    def submit(self, jobs: Sequence[SampleJob], checkpoint: ServedCheckpoint) -> None:
        """Queue the jobs of one call, or answer that there is no room."""
        assert checkpoint.sampler is not None
        checkpoint.used_at = self._clock()
        try:
            for job in jobs:
                job.unfinished = len(job.request.seeds)
                for part in parts_of(job, most=self._part(checkpoint, job.request)):
                    checkpoint.queue.put(part)
        except QueueFull as full:  # the first of them: the others come with it
            self._metrics.count("requests_refused")
            error = Overloaded(f"{full}: try again later", code="queue_full", retry_after=2)
            self._post([(job, error) for job in jobs])

    def cancel(self, job: SampleJob, checkpoint: ServedCheckpoint, sample: int | None) -> None:
        """Forget a job, or one of its samples, which runs."""
        if sample is None:
            checkpoint.queue.remove(job.key, user=job.user)
        assert checkpoint.sampler is not None
        for part in [each for each in checkpoint.running.values() if each.job is job]:
            own = None if sample is None else sample - part.first
            ended = part.live & (part.live if own is None else {own})
            if ended:
                checkpoint.sampler.cancel(part.request.key, sample=own)
                self._end(checkpoint, part, ended)

    def sample(self, checkpoint: ServedCheckpoint) -> None:
        """Let waiting requests in and draw a token for each running sample."""
        sampler = checkpoint.sampler
        assert sampler is not None
        self._let_in(checkpoint, sampler)
        if checkpoint.running:
            rows, held = sampler.running, _lines(sampler)
            events = sampler.step()
            checkpoint.used_at = self._clock()
            self._settle(checkpoint, events)
            has_grown = _lines(sampler) > held and sampler.running <= rows
            if has_grown and checkpoint.running and not self._memory.has_room():
                self._end_longest(checkpoint)

    def _let_in(self, checkpoint: ServedCheckpoint, sampler: Sampler) -> None:
        """Start what waits, as far as rows and memory go."""

        def may_start(part: Part) -> bool:
            more = sampler.bytes_with(part.request) - sampler.bytes_used
            return self._memory.may_start(checkpoint, more)

        most = _share(sampler.max_rows)
        while len(checkpoint.queue) and sampler.running + sampler.waiting < sampler.max_rows:
            part = checkpoint.queue.take(
                running=checkpoint.running_by_user, most=most, may_start=may_start
            )
            if part is None:
                break  # until something that runs has ended
            checkpoint.running[part.request.key] = part
            checkpoint.running_by_user[part.user] += len(part.live)
            sampler.add(part.request)

    def _part(self, checkpoint: ServedCheckpoint, request: SampleRequest) -> int:
        """Samples of a request that start together: as leave rows for others, and as fit the memory by themselves."""
        sampler = checkpoint.sampler
        assert sampler is not None
        most = max(1, sampler.max_rows - _share(sampler.max_rows))
        room = self._memory.room_of(checkpoint)
        while most > 1 and (
            sampler.bytes_alone(replace(request, seeds=request.seeds[:most])) > room
        ):
            most //= 2
        return most

    def score(self, checkpoint: ServedCheckpoint) -> None:
        """Read the next row of the first scoring job."""
        job = checkpoint.score_jobs[0]
        checkpoint.used_at = self._clock()
        if job.answer.cancelled():
            checkpoint.score_jobs.popleft()
            return
        assert checkpoint.scorer is not None
        found = checkpoint.scorer.score_row(job.rows.popleft(), job.sequences)
        if not all(map(math.isfinite, found.values())):
            checkpoint.score_jobs.popleft()
            refuse(job, _not_finite(checkpoint))
            return
        job.scores |= found
        checkpoint.failure = None
        if not job.rows:
            checkpoint.score_jobs.popleft()
            self._metrics.count("dialogues_scored", len(job.scores))
            if job.answer.set_running_or_notify_cancel():
                job.answer.set_result([job.scores[place] for place in range(len(job.sequences))])

    def fail_first_score(
        self, checkpoint: ServedCheckpoint, raised: BaseException, error: ServingError
    ) -> None:
        """Answer the scoring job whose row failed with an error; those behind it are not to blame."""
        logger.error("scores of checkpoint %s failed", checkpoint.name, exc_info=raised)
        self._metrics.count("engine_failures")
        checkpoint.failure = error.message
        refuse(checkpoint.score_jobs.popleft(), error)

    def fail(
        self, checkpoint: ServedCheckpoint, raised: BaseException, error: ServingError
    ) -> None:
        """Answer everything that runs with an error and start afresh."""
        logger.error("checkpoint %s failed", checkpoint.name, exc_info=raised)
        self._metrics.count("engine_failures")
        checkpoint.failure = error.message
        failed = {part.job for part in checkpoint.running.values()}
        self._post([(job, error) for job in failed])
        for job in failed:
            checkpoint.queue.remove(job.key, user=job.user)
        checkpoint.running.clear()
        checkpoint.running_by_user.clear()
        if checkpoint.sampler is not None:
            checkpoint.sampler.clear()
        for job in checkpoint.score_jobs:
            refuse(job, error)
        checkpoint.score_jobs.clear()

    def try_again(self, checkpoint: ServedCheckpoint) -> None:
        """Draw a token or compute a score where the last turn failed and nothing runs."""
        if checkpoint.failure is None or checkpoint.is_busy:
            return
        try:
            warm_up(checkpoint)
        except Exception as raised:  # noqa: BLE001 -- a process boundary: it fails as it did before
            logger.warning("checkpoint %s fails still: %r", checkpoint.name, raised)
            if checkpoint.sampler is not None:
                checkpoint.sampler.clear()
            return
        checkpoint.failure = None

    def _settle(self, checkpoint: ServedCheckpoint, events: list[Event]) -> None:
        """Hand events to their requests; drop those whose numbers make no sense."""
        by_part: dict[str, list[Event]] = {}
        broken: set[str] = set()
        for event in events:
            by_part.setdefault(event.key, []).append(event)
            if isinstance(event, TokenDrawn) and not math.isfinite(event.logprob):
                broken.add(event.key)
        now, drawn = self._clock(), 0
        deliveries: list[tuple[SampleJob, Delivery]] = []
        for key, own in by_part.items():
            part = checkpoint.running.get(key)
            if part is None:
                continue
            if key in broken:
                deliveries.append((part.job, self._broken(checkpoint, part.job)))
                continue
            drawn += self._note(checkpoint, part, own, now=now)
            deliveries.append((part.job, part.told(own)))
        if drawn:
            self._metrics.drawn(drawn, now=now)
        if by_part.keys() - broken:
            checkpoint.failure = None
        self._post(deliveries)

    def _broken(self, checkpoint: ServedCheckpoint, job: SampleJob) -> GenerationFailed:
        self.cancel(job, checkpoint, None)
        return _not_finite(checkpoint)

    def _end_longest(self, checkpoint: ServedCheckpoint) -> None:
        """All lines are as long as the longest: what grew them beyond the budget ends."""
        longest = max(
            checkpoint.running.values(), key=lambda part: len(part.request.prompt) + part.drawn
        )
        self.cancel(longest.job, checkpoint, None)
        error = Overloaded(
            "the reply outgrew the memory budget: ask for fewer tokens or raise --memory-budget",
            code="memory_budget",
            retry_after=10,
        )
        self._post([(longest.job, error)])

    def _note(
        self, checkpoint: ServedCheckpoint, part: Part, events: list[Event], *, now: float
    ) -> int:
        """Keep a part's books; return its tokens drawn."""
        job = part.job
        tokens = [event for event in events if isinstance(event, TokenDrawn)]
        part.drawn += 1 if tokens else 0
        if tokens and not job.saw_token:
            job.saw_token = True
            self._metrics.first_token_after(now - job.submitted)
        ended = {event.sample for event in tokens if event.finish}
        if job.request.max_tokens == 0 and any(isinstance(each, PromptRead) for each in events):
            ended = set(part.live)
        self._end(checkpoint, part, ended)
        return len(tokens)

    def _end(self, checkpoint: ServedCheckpoint, part: Part, samples: set[int]) -> None:
        ended = samples & part.live
        if part.request.key not in checkpoint.running or not ended:
            return
        part.live -= ended
        checkpoint.running_by_user[part.user] -= len(ended)
        if checkpoint.running_by_user[part.user] <= 0:
            del checkpoint.running_by_user[part.user]
        if not part.live:
            del checkpoint.running[part.request.key]
        part.job.unfinished -= len(ended)
        if part.job.unfinished == 0:
            self._metrics.finished_after(self._clock() - part.job.submitted)


def _not_finite(checkpoint: ServedCheckpoint) -> GenerationFailed:
    """What a call is told whose numbers make no sense, noted as the checkpoint's failure."""
    checkpoint.failure = "the model computed something that is not a number"
    return GenerationFailed(checkpoint.failure, code="not_finite")


def _lines(sampler: Sampler) -> int:
    """Bytes of what runs."""
    return sampler.bytes_used - sampler.prefix_cache.bytes_used


def _share(rows: int) -> int:
    """Samples of one user that may run before others had their turn."""
    return max(1, int(rows * SHARE_OF_ONE_USER))


def refuse(job: ScoreJob, error: Exception) -> None:
    """Answer a scoring job with an error, unless nobody waits for it any more."""
    if job.answer.set_running_or_notify_cancel():
        job.answer.set_exception(error)


def warm_up(checkpoint: ServedCheckpoint) -> None:
    """Draw one token or compute one score; refuse a checkpoint whose numbers make no sense."""
    if checkpoint.scorer is not None:
        dialogue = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi"}]
        (value,) = checkpoint.scorer.score_dialogues([dialogue])
    else:
        assert checkpoint.sampler is not None
        prompt = tuple(checkpoint.loaded.tokenizer.encode("Hello"))
        sampler = checkpoint.sampler
        sampler.add(SampleRequest(key="warm-up", prompt=prompt, seeds=(0,), max_tokens=2))
        value = next(e.logprob for e in sampler.step() if isinstance(e, TokenDrawn))
        sampler.cancel("warm-up")
    if not math.isfinite(value):
        raise Refused("the first token of the warm-up is not a number", code="not_finite")
