"""What the event loop hands to the engine thread, and how answers travel back.

Does not know models or HTTP.
"""

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from modelserving.lm.sample_requests import Event, SampleRequest
from modelserving.server.errors import ServingError

Delivery = list[Event] | ServingError
Dialogue = Sequence[Mapping[str, str]]


@dataclass(kw_only=True, eq=False)
class SampleJob:
    """A request for samples and the queue its events go to."""

    request: SampleRequest
    user: str
    submitted: float
    outlet: "asyncio.Queue[Delivery]" = field(default_factory=asyncio.Queue)
    live: set[int] = field(default_factory=set)  # samples of it that are not done
    saw_token: bool = False

    @property
    def key(self) -> str:
        """The request's key."""
        return self.request.key


@dataclass(kw_only=True, eq=False)
class ScoreJob:
    """Dialogues to score, in turns that leave room for streams in between."""

    dialogues: Sequence[Dialogue]
    answer: "Future[list[float]]" = field(default_factory=Future)
    scores: list[float] = field(default_factory=list)


def deliver(deliveries: Sequence[tuple[SampleJob, Delivery]]) -> None:
    """Put answers into their queues; runs on the event loop."""
    for job, delivery in deliveries:
        job.outlet.put_nowait(delivery)
