"""Prompts on their way to their first token: read in pieces, several together, a beginning that they share once.

Does not know how tokens are drawn. Legend: C tokens of a piece, V vocabulary.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from modelserving.lm.prefix_cache import BLOCK, PrefixCache
from modelserving.lm.reading import Reader
from modelserving.lm.sample_requests import SampleRequest, TopLogprobs
from modelserving.lm.slot_attention import Piece
from modelserving.lm.slots import PromptKeyValues


@dataclass(kw_only=True, eq=False)
class WaitingPrompt:
    """A request whose prompt is not read yet, or whose samples have not all started."""

    request: SampleRequest
    store: PromptKeyValues
    cached_tokens: int = -1  # negative until it is first read on
    logits: Tensor | None = None  # (1, V) behind the last token, once read
    waiting: deque[int] = field(default_factory=deque)  # samples not started yet
    logprobs: list[float] = field(default_factory=list)  # of its own tokens, where asked for
    tops: list[TopLogprobs] = field(default_factory=list)

    @property
    def tokens(self) -> tuple[int, ...]:
        """Of the prompt."""
        return self.request.prompt

    @property
    def unread(self) -> int:
        """Tokens left to read."""
        return len(self.tokens) - self.store.filled


class PromptReading:
    """Reads waiting prompts on, in order of arrival."""

    def __init__(self, reader: Reader, *, cache: PrefixCache, together: int) -> None:
        """At most `together` prompts are read on in one go."""
        self._reader, self._cache, self._together = reader, cache, together

    def read_on(
        self, queue: Sequence[WaitingPrompt], *, budget: int
    ) -> tuple[list[WaitingPrompt], int]:
        """Read a piece of several prompts together, about `budget` tokens; those that are done, and the tokens read."""
        chosen = self._chosen(queue, budget=budget)
        keep_all = queue[0].request.prompt_logprobs
        found = self._reader.read_pieces([piece for _, piece in chosen], all_logits=keep_all)
        for (prompt, piece), logits in zip(chosen, found, strict=True):
            if keep_all:
                _tell(prompt, logits, start=prompt.store.filled - len(piece.token_ids))
            if not self._reader.whole_prompts:
                self._keep(prompt, fresh=len(piece.token_ids))
            if not prompt.unread:
                prompt.logits = logits[-1:]
        finished = [prompt for prompt, _ in chosen if prompt.logits is not None]
        finished += [twin for prompt in finished for twin in self._twins(prompt, queue)]
        return finished, sum(len(piece.token_ids) for _, piece in chosen)

    def _chosen(
        self, queue: Sequence[WaitingPrompt], *, budget: int
    ) -> list[tuple[WaitingPrompt, Piece]]:
        """The first prompt, and others of its kind as far as the budget of tokens goes."""
        chosen: list[tuple[WaitingPrompt, Piece]] = []
        keep_all = queue[0].request.prompt_logprobs
        for prompt in queue:
            is_other_kind = prompt.request.prompt_logprobs != keep_all
            if is_other_kind or any(self._waits(prompt, earlier) for earlier, _ in chosen):
                continue
            if prompt.cached_tokens < 0:
                self._take_known(prompt)
            size = self._piece_tokens(prompt, budget=budget)
            if chosen and size > budget:
                break
            start = prompt.store.filled
            piece = Piece(token_ids=prompt.tokens[start : start + size], prompt=prompt.store)
            chosen.append((prompt, piece))
            budget -= size
            if len(chosen) == self._together:
                break
        return chosen

    def _piece_tokens(self, prompt: WaitingPrompt, *, budget: int) -> int:
        """How many tokens to read next: whole blocks, or all that is left."""
        if self._reader.whole_prompts:
            return prompt.unread
        most = BLOCK if prompt.request.prompt_logprobs else min(self._reader.piece_tokens, budget)
        return min(prompt.unread, max(1, most // BLOCK) * BLOCK)

    def _waits(self, prompt: WaitingPrompt, earlier: WaitingPrompt) -> bool:
        """Whether `earlier`, read on now, leaves something that this one can take: more of its beginning, or all."""
        if prompt.cached_tokens >= 0 or prompt.request.prompt_logprobs:
            return False
        if prompt.tokens == earlier.tokens:
            return True
        if self._reader.whole_prompts:
            return False
        return _shared_tokens(prompt.tokens, earlier.tokens) > earlier.store.filled

    def _take_known(self, prompt: WaitingPrompt) -> None:
        is_known = not (prompt.request.prompt_logprobs or self._reader.whole_prompts)
        for block in self._cache.longest(prompt.tokens) if is_known else []:
            prompt.store.take(block)
        prompt.cached_tokens = prompt.store.filled

    def _keep(self, prompt: WaitingPrompt, *, fresh: int) -> None:
        """Remember the whole blocks among the last `fresh` tokens: pieces begin where blocks do."""
        store = prompt.store
        for end in range(store.filled - fresh + BLOCK, store.filled + 1, BLOCK):
            block = store.values[:, :, :, end - BLOCK : end]
            self._cache.keep(tokens=prompt.tokens, end=end, block=block)

    def _twins(self, read: WaitingPrompt, queue: Sequence[WaitingPrompt]) -> list[WaitingPrompt]:
        """Waiting prompts of the same tokens, such as the other side of a turn, need no reading."""
        if read.request.prompt_logprobs:
            return []
        found = [
            prompt
            for prompt in queue
            if prompt.cached_tokens < 0
            and prompt.tokens == read.tokens
            and not prompt.request.prompt_logprobs
        ]
        for prompt in found:
            prompt.store, prompt.logits = read.store, read.logits
            prompt.cached_tokens = read.store.filled
            self._cache.hit_tokens += read.store.filled
        return found


def _tell(prompt: WaitingPrompt, logits: Tensor, *, start: int) -> None:
    """Write down what a piece from `start` on says of the tokens behind each of its own; logits (C, V) are not kept."""
    told = prompt.tokens[start + 1 : start + 1 + len(logits)]
    if not told:
        return
    logprobs = torch.log_softmax(logits[: len(told)].float(), dim=-1)  # (C, V)
    ids = torch.tensor(told, device=logprobs.device)
    prompt.logprobs += logprobs.gather(1, ids[:, None])[:, 0].tolist()
    prompt.tops += tops_of(logprobs, prompt.request.top_logprobs)


def tops_of(logprobs: Tensor, count: int) -> list[TopLogprobs]:
    """The `count` likeliest tokens of each row."""
    values, ids = logprobs.topk(count, dim=-1)
    return [
        tuple(zip(i, v, strict=True)) for i, v in zip(ids.tolist(), values.tolist(), strict=True)
    ]


def _shared_tokens(tokens: Sequence[int], earlier: Sequence[int]) -> int:
    """Tokens of whole blocks with which both begin, but for the last token, which is always read."""
    shared = 0
    while shared + BLOCK < len(tokens):
        if tokens[shared : shared + BLOCK] != earlier[shared : shared + BLOCK]:
            break
        shared += BLOCK
    return shared
