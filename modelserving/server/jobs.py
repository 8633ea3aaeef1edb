"""What the event loop hands to the engine thread, and how answers travel back.

Does not know models or HTTP.
"""

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace

from modelserving.lm.sample_requests import Event, SampleRequest, TokenDrawn
from modelserving.lm.scoring import Row
from modelserving.server.errors import ServingError

Delivery = list[Event] | ServingError
Dialogue = Sequence[Mapping[str, str]]


@dataclass(kw_only=True, eq=False)
class SampleJob:
    """Samples of one prompt that a call asks for, and the queue their events go to."""

    request: SampleRequest
    user: str
    call: str  # the same for all prompts of one
    submitted: float
    outlet: "asyncio.Queue[Delivery]" = field(default_factory=asyncio.Queue)
    saw_token: bool = False
    unfinished: int = 0  # samples, once they are queued

    @property
    def key(self) -> str:
        """The request's key."""
        return self.request.key


@dataclass(kw_only=True, eq=False)
class Part:
    """Samples of a job that wait and start together: few enough to leave rows for others."""

    job: SampleJob
    first: int  # of the job's samples
    request: SampleRequest
    live: set[int] = field(default_factory=set)  # samples of the part that are not done
    drawn: int = 0  # tokens of its longest sample

    @property
    def key(self) -> str:
        """The job's key."""
        return self.job.key

    @property
    def user(self) -> str:
        """Whose it is."""
        return self.job.user

    @property
    def call(self) -> str:
        """What the job came with."""
        return self.job.call

    def told(self, events: list[Event]) -> list[Event]:
        """The events as they are of the whole job: the prompt is said to be read once."""
        if self.first == 0:
            return events
        drawn = [event for event in events if isinstance(event, TokenDrawn)]
        return [replace(event, key=self.key, sample=self.first + event.sample) for event in drawn]


def parts_of(job: SampleJob, *, most: int) -> list[Part]:
    """The job in parts of at most `most` samples."""
    request = job.request
    if request.max_tokens == 0 or len(request.seeds) <= most:  # without tokens no row is taken
        return [Part(job=job, first=0, request=request, live=set(range(len(request.seeds))))]
    parts = []
    for first in range(0, len(request.seeds), most):
        seeds = request.seeds[first : first + most]
        own = replace(
            request,
            key=f"{request.key}+{first}" if first else request.key,
            seeds=seeds,
            prompt_logprobs=request.prompt_logprobs and first == 0,
        )
        parts.append(Part(job=job, first=first, request=own, live=set(range(len(seeds)))))
    return parts


@dataclass(kw_only=True, eq=False)
class ScoreJob:
    """Token sequences to score, a row in each turn: streams go on in between."""

    sequences: Sequence[Sequence[int]]
    rows: deque[Row]  # that are not read yet
    answer: "Future[list[float]]" = field(default_factory=Future)
    scores: dict[int, float] = field(default_factory=dict)  # by place, of the rows that are read


def deliver(deliveries: Sequence[tuple[SampleJob, Delivery]]) -> None:
    """Put answers into their queues; runs on the event loop."""
    for job, delivery in deliveries:
        job.outlet.put_nowait(delivery)
