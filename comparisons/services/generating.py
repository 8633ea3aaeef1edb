"""Fill a turn: two replies at once, streamed to the reader and stored once, whoever goes away.

Knows turns, responses and the generation service; knows nothing of choices or pages.
"""

import logging
import threading
from dataclasses import dataclass, replace

from django.utils.crypto import salted_hmac

from comparisons import tasks
from comparisons.core.transcript import Message
from comparisons.models import Response, Turn
from comparisons.queries.dialogues import messages_of
from comparisons.services import turn_leases
from comparisons.services.connections import let_go_of_connection
from comparisons.services.keeping import Keep, kept
from comparisons.services.pacing import Pacing
from comparisons.services.streaming import SIDES, TurnStream
from comparisons.services.turn_leases import Lease
from modelserving import doorbell, generation
from modelserving.core.completion import Completion, Delta
from modelserving.core.faults import hit
from modelserving.core.sampling import sample_seed
from modelserving.generation import GenerationFailed
from modelserving.models import Deployment

logger = logging.getLogger(__name__)

CHANCES = 2  # of a side within one attempt
RING_EXPIRES_SECONDS = 10
MOST_RINGS = 500


def fill_turn(turn_id: int) -> None:
    """Write what is missing of the turn. Ringing twice, or for a turn that is full, changes nothing."""
    lease = turn_leases.claim(turn_id)
    if lease is None:
        return
    hit("turn.after_claim")
    stream = TurnStream(lease.public_id, attempt=lease.attempt)
    stream.begin()
    if lease.is_worn_out:
        _give_up(lease, stream)
        return
    turn = Turn.objects.select_related("conversation").get(pk=turn_id)
    responses = Response.objects.select_related("deployment__checkpoint", "deployment__ranker")
    by_key = responses.in_bulk(list(lease.responses.values()))
    with kept(lease) as keep:
        filling = _Filling(
            lease=lease,
            keep=keep,
            stream=stream,
            pacing=Pacing(stream, is_stopped=keep.is_stopped),
            messages=messages_of(turn),
            crowdworker_id=turn.conversation.crowdworker_id,
            responses={side: by_key[lease.responses[side]] for side in SIDES},
        )
        let_go_of_connection()
        filling.run()


def reconcile_turns() -> int:
    """Ring again for turns that nobody fills; returns how many."""
    forsaken = list(turn_leases.forsaken_turns().values_list("pk", flat=True)[:MOST_RINGS])
    for turn_id in forsaken:
        doorbell.ring(tasks.fill_turn, expires=RING_EXPIRES_SECONDS, turn_id=turn_id)
    return len(forsaken)


@dataclass(kw_only=True, eq=False)
class _Filling:
    """One attempt at one turn."""

    lease: Lease
    keep: Keep
    stream: TurnStream
    pacing: Pacing
    messages: list[Message]
    crowdworker_id: int | None
    responses: dict[str, Response]

    def run(self) -> None:
        """Write both sides at once, then say how the turn stands."""
        states: dict[str, str | None] = {}
        pending = [s for s in SIDES if self.responses[s].state == Response.State.PENDING]
        for side in SIDES:
            if side not in pending:
                self._show_stored(side)
        threads = [
            threading.Thread(target=self._side, args=(side, states), name=f"side {side}")
            for side in pending
        ]
        for thread in threads:
            thread.start()
        if not self.lease.is_held_back:
            self.pacing.run()
        for thread in threads:
            thread.join()
        self._conclude(set(states.values()))

    def _conclude(self, states: set[str | None]) -> None:
        if Turn.State.READY in states or Turn.State.FAILED in states:
            if self.lease.is_held_back:
                self._show_both()
            self.stream.publish("ready" if Turn.State.READY in states else "failed")
        elif not self.keep.lost.is_set() or Turn.State.GENERATING in states:
            turn_leases.release(self.lease)  # unfinished: the reconciler rings again
            if states == {Turn.State.GENERATING}:  # all is written, and a failed side asked for
                doorbell.ring_on_commit(tasks.fill_turn, turn_id=self.lease.turn_id)
        let_go_of_connection()

    def _side(self, side: str, states: dict[str, str | None]) -> None:
        """Write one side, in a thread of its own."""
        try:
            states[side] = self._write(side)
        except Exception:  # a process boundary: the other side goes on, the reconciler rings again
            logger.exception("turn %s side %s was not written", self.lease.turn_id, side)
            states[side] = None
        finally:
            self.pacing.leave(side)
            let_go_of_connection()

    def _write(self, side: str) -> str | None:
        """Generate and store one side; the turn's state after it, None when it does not count."""
        try:
            completion = self._completed(side)
        except GenerationFailed as failed:
            logger.warning("turn %s side %s: %s", self.lease.turn_id, side, failed.brief)
            hit("turn.before_fail")
            state = turn_leases.fail(self.lease, side=side, reason=failed.brief)
            if state is not None and not self.lease.is_held_back:
                self.stream.publish("failed", side=side)
            return state
        if completion is not None and not self.lease.is_held_back:
            completion = self._shown(side, completion)
        if completion is None:
            return None
        hit("turn.before_store")
        state = turn_leases.store(self.lease, side=side, completion=completion)
        hit("turn.after_store")
        if state is not None and not self.lease.is_held_back:
            self.stream.publish("done", side=side, text=completion.finish_reason)
        return state

    def _shown(self, side: str, completion: Completion) -> Completion | None:
        """The reply once people saw all of it; of a turn that was stopped, as far as they saw it.

        Until then it is stored nowhere: a page that is opened meanwhile would show how much there is of each side.
        """
        text = self.pacing.shown(side, whole=completion.text)
        if self.keep.lost.is_set():
            return None
        if text == completion.text:
            return completion
        return replace(completion, text=text, token_ids=(), finish_reason="stopped")

    def _completed(self, side: str) -> Completion | None:
        """A whole reply, with a second chance; None once the turn is not ours any more."""
        response = self.responses[side]
        for chance in range(CHANCES):
            seed = sample_seed(seed=response.seed or 0, index=response.tries * CHANCES)
            try:
                completion = self._generated(side, seed=sample_seed(seed=seed, index=chance))
            except GenerationFailed as failed:
                if self.keep.lost.is_set():
                    return None
                if not failed.is_retryable or chance == CHANCES - 1:
                    raise
                logger.info("turn %s side %s again: %s", self.lease.turn_id, side, failed.brief)
                self.pacing.restart(side)
            else:
                return None if self.keep.lost.is_set() else completion
        raise AssertionError("the last chance returns or raises")

    def _generated(self, side: str, *, seed: int) -> Completion:
        deployment = self.responses[side].deployment
        if deployment is None:
            raise GenerationFailed("the response has no deployment", is_retryable=False)
        stream = generation.stream(
            deployment,
            self.messages,
            seed=seed,
            user=user_of(self.crowdworker_id, deployment),
            is_stopped=self.keep.is_stopped,
        )
        for item in stream:
            if isinstance(item, Delta):
                self.pacing.add(side, item.text)
                continue
            if not item.text.strip() and item.finish_reason != "stopped":
                raise GenerationFailed("the reply is empty", is_retryable=True)
            return item
        raise GenerationFailed("the reply has no end", is_retryable=True)

    def _show_stored(self, side: str) -> None:
        """A side that an earlier attempt wrote goes into the new stream as it is."""
        self.pacing.leave(side)
        response = self.responses[side]
        if self.lease.is_held_back:
            return
        if response.state == Response.State.READY:
            self.stream.publish("delta", side=side, text=response.text)
            self.stream.publish("done", side=side, text=response.finish_reason)
        else:
            self.stream.publish("failed", side=side)

    def _show_both(self) -> None:
        """Held back until now: both sides appear together."""
        rows = Response.objects.in_bulk(list(self.lease.responses.values()))
        for side in SIDES:
            response = rows[self.lease.responses[side]]
            if response.state == Response.State.READY:
                self.stream.publish("delta", side=side, text=response.text)
                self.stream.publish("done", side=side, text=response.finish_reason)
            else:
                self.stream.publish("failed", side=side)


def _give_up(lease: Lease, stream: TurnStream) -> None:
    """Too many attempts ended without an end: fail what is missing."""
    for side in SIDES:
        if turn_leases.fail(lease, side=side, reason="given up after too many attempts"):
            stream.publish("failed", side=side)
    stream.publish("failed")


def user_of(crowdworker_id: int | None, deployment: Deployment) -> str:
    """A stable name for fairness between users: nobody else can guess it, and no two endpoints can compare it."""
    asked = "ours" if deployment.checkpoint_id else f"deployment {deployment.public_id}"
    return salted_hmac(asked, f"crowdworker {crowdworker_id}", algorithm="sha256").hexdigest()[:16]
