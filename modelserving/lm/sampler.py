"""Draw samples from a causal language model: many requests in one running batch, joining and leaving at any token.

A prompt is read once for all its samples, and its beginning not at all if it was read before. A sample's tokens
depend on its prompt, settings and seed alone, where the reader's numbers do. Does not know text, stop strings, users or HTTP.
"""

from collections import deque
from collections.abc import Sequence

import torch
from torch import Tensor

from modelserving.core.sampling import uniform
from modelserving.lm.choosing import Settings, choose, log_probabilities
from modelserving.lm.prefix_cache import PrefixCache
from modelserving.lm.prompt_reading import PromptReading, WaitingPrompt, tops_of
from modelserving.lm.reading import Reader
from modelserving.lm.sample_requests import (
    Event,
    PromptRead,
    SampleRequest,
    TokenDrawn,
    TopLogprobs,
)
from modelserving.lm.seating import Row
from modelserving.lm.slots import PromptKeyValues

PIECES_TOGETHER = 8  # prompts read on in one go


class Sampler:
    """The running batch of one model. Not thread-safe: one thread calls `add`, `cancel` and `step`."""

    def __init__(
        self,
        reader: Reader,
        *,
        max_rows: int = 64,
        prefix_cache_bytes: int = 256 << 20,
        prompt_tokens_per_step: int = 1024,
    ) -> None:
        """At most `max_rows` samples run at once; the rest wait in order of arrival."""
        self.reader = reader
        self.prefix_cache = PrefixCache(byte_limit=prefix_cache_bytes)
        self.max_rows = max_rows
        self._prompt_tokens_per_step = prompt_tokens_per_step
        together = max_rows if reader.whole_prompts else PIECES_TOGETHER
        self._reading = PromptReading(reader, cache=self.prefix_cache, together=together)
        self._queue: deque[WaitingPrompt] = deque()
        self._empty()

    @property
    def running(self) -> int:
        """Samples in the batch."""
        return len(self._rows)

    @property
    def waiting(self) -> int:
        """Samples not in the batch yet."""
        return sum(len(prompt.waiting) for prompt in self._queue)

    @property
    def bytes_used(self) -> int:
        """Memory held for keys and values, those of waiting prompts too, and for copies of the weights."""
        own = self._running.bytes_used + self.prefix_cache.bytes_used
        return own + self._waiting_bytes() + self.reader.bytes_used

    def bytes_with(self, request: SampleRequest) -> int:
        """Memory once all that waits has started, and the samples of `request` with it."""
        starting = [(each.request, len(each.waiting)) for each in self._queue]
        starting.append((request, len(request.seeds)))
        rows = self._running.bytes_with([each for each in starting if each[0].max_tokens])
        prompts = self._waiting_bytes() + self._prompt_bytes(request)
        return rows + prompts + self.prefix_cache.bytes_used + self.reader.bytes_used

    def bytes_alone(self, request: SampleRequest) -> int:
        """Memory of the keys and values of one request where nothing else runs."""
        starting = [(request, len(request.seeds))] if request.max_tokens else []
        return self.reader.rows().bytes_with(starting) + self._prompt_bytes(request)

    def _waiting_bytes(self) -> int:
        stores = {id(each.store): each.store.values.nbytes for each in tuple(self._queue)}
        return sum(stores.values())

    def _prompt_bytes(self, request: SampleRequest) -> int:
        return len(request.prompt) * self.reader.shape.bytes_per_token

    def add(self, request: SampleRequest) -> None:
        """Queue a request; its samples start as rows become free."""
        assert request.prompt, "a prompt has at least one token"
        if request.prompt_logprobs and self.reader.whole_prompts:
            raise ValueError(
                "this reader tells no log-probabilities of prompts: use reader_of(model)"
            )
        store = PromptKeyValues(shape=self.reader.shape, tokens=len(request.prompt))
        prompt = WaitingPrompt(request=request, store=store)
        prompt.waiting.extend(range(len(request.seeds)))
        self._queue.append(prompt)

    @torch.inference_mode()
    def cancel(self, key: str, *, sample: int | None = None) -> None:
        """Forget a request, or one of its samples, wherever it is."""
        for prompt in [each for each in self._queue if each.request.key == key]:
            prompt.waiting = deque(i for i in prompt.waiting if sample is not None and i != sample)
            if not prompt.waiting:
                self._queue.remove(prompt)
        for row in [r for r in self._rows if r.request.key == key and sample in (None, r.sample)]:
            self._leave(row)

    def clear(self) -> None:
        """Forget every request and all keys and values, for instance when memory ran out."""
        self._queue.clear()
        self._empty()
        self.prefix_cache.clear()

    def _empty(self) -> None:
        self._rows: list[Row] = []
        self._running = self.reader.rows()

    @torch.inference_mode()
    def step(self) -> list[Event]:
        """Read waiting prompts up to a budget, start samples, and draw one token for each running one."""
        events = self._start()
        if self._rows:
            events += self._advance()
        return events

    def _start(self) -> list[Event]:
        """Read prompts up to the budget and start their samples, as long as there are free rows."""
        events: list[Event] = []
        budget = self._prompt_tokens_per_step
        while self._queue and len(self._rows) < self.max_rows:
            ready = next((each for each in self._queue if each.logits is not None), None)
            if ready is not None:
                events += self._first_tokens(ready)
                if not ready.waiting:
                    self._queue.remove(ready)
                continue
            if budget <= 0:
                break
            finished, read = self._reading.read_on(self._queue, budget=budget)
            budget -= read
            events += [self._prompt_read(prompt) for prompt in finished]
        return events

    def _prompt_read(self, prompt: WaitingPrompt) -> PromptRead:
        request = prompt.request
        if not request.prompt_logprobs:
            return PromptRead(key=request.key, cached_tokens=prompt.cached_tokens)
        return PromptRead(
            key=request.key,
            cached_tokens=0,
            logprobs=tuple(prompt.logprobs),
            tops=tuple(prompt.tops),
        )

    def _first_tokens(self, prompt: WaitingPrompt) -> list[Event]:
        """Start as many of the prompt's samples as there are free rows."""
        request = prompt.request
        if request.max_tokens == 0:
            prompt.waiting.clear()
            return []
        free = min(self.max_rows - len(self._rows), len(prompt.waiting))
        rows = [Row(request=request, sample=prompt.waiting.popleft()) for _ in range(free)]
        assert prompt.logits is not None
        self._running.start(rows, prompt.store)
        self._rows += rows
        return self._draw(prompt.logits.expand(free, -1), rows)

    def _leave(self, row: Row) -> None:
        self._rows.remove(row)
        self._running.leave(row)

    def _advance(self) -> list[Event]:
        rows = list(self._rows)
        return self._draw(self._running.read(rows), rows)

    def _draw(self, logits: Tensor, rows: Sequence[Row]) -> list[Event]:
        """Choose a token for each row, write them down and let finished rows go."""
        requests = [row.request for row in rows]
        numbers = [uniform(seed=row.request.seeds[row.sample], position=row.drawn) for row in rows]
        device = logits.device
        settings = Settings(
            temperature=torch.tensor([request.temperature for request in requests], device=device),
            top_p=torch.tensor([request.top_p for request in requests], device=device),
            uniforms=torch.tensor(numbers, dtype=torch.float64, device=device),
        )
        tokens, costs = choose(logits=logits, settings=settings, draw=self.reader.draw)
        most = max(request.top_logprobs for request in requests)
        tops: Sequence[TopLogprobs] = [()] * len(rows)
        if most:
            logprobs = log_probabilities(logits=logits, temperature=settings.temperature)
            tops = tops_of(logprobs, most)
        return self._settle(rows, ids=tokens.tolist(), costs=costs.tolist(), tops=tops)

    def _settle(
        self,
        rows: Sequence[Row],
        *,
        ids: Sequence[int],
        costs: Sequence[float],
        tops: Sequence[TopLogprobs],
    ) -> list[Event]:
        events: list[Event] = []
        for row, token_id in zip(rows, ids, strict=True):  # all of them before any row may move
            row.drawn, row.last = row.drawn + 1, token_id
        for row, token_id, cost, top in zip(rows, ids, costs, tops, strict=True):
            request = row.request
            finish = "length" if row.drawn >= request.max_tokens else None
            finish = "stop" if token_id in request.stop_ids else finish
            events.append(
                TokenDrawn(
                    key=request.key, sample=row.sample, token_id=token_id, logprob=cost,
                    top=top[: request.top_logprobs], finish=finish,
                )
            )  # fmt: skip
            if finish:
                self._leave(row)
        return events
