"""The JSON of answers: the OpenAI API's objects, with our extensions beside their fields.

Does not know the engine or HTTP.
"""

import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from modelserving.lm.sample_requests import PromptRead, TokenDrawn, TopLogprobs
from modelserving.server.generation import Piece, Running, Sample
from modelserving.server.protocol import GenerationRequest

Decode = Callable[[Sequence[int]], str]


class Answers:
    """Builds the answers to one request."""

    def __init__(
        self, *, request: GenerationRequest, running: list[Running], identity: str, created: int
    ) -> None:
        """`created` is in seconds since 1970."""
        self._request = request
        self._running = running
        self._decode: Decode = running[0].checkpoint.loaded.tokenizer.decode
        self._text_of = running[0].checkpoint.text_of
        self._told: Counter[int] = Counter()  # characters of each streamed choice so far
        self._stop_ids = running[0].job.request.stop_ids
        self._head = {
            "id": identity,
            "created": created,
            "model": request.model,
            "system_fingerprint": running[0].checkpoint.hash[:16],
        }

    def whole(self, choices: list[dict[str, Any]], **extra: Any) -> dict[str, Any]:
        """A complete answer."""
        name = "chat.completion" if self._request.kind == "chat" else "text_completion"
        return {
            **self._head,
            "object": name,
            "choices": choices,
            "usage": self.usage(),
            "seed": self._request.settings.seed,
            "dropped_messages": self._running[0].dropped_messages,
            **self._prompt_ids(),
            **extra,
        }

    def choice(self, running: Running, sample: Sample, *, index: int) -> dict[str, Any]:
        """One choice of a complete answer."""
        tokens = sample.visible(self._stop_ids)
        if self._request.kind == "chat":
            body: dict[str, Any] = {
                "message": {"role": "assistant", "content": sample.text, "refusal": None}
            }
        else:
            echoed = self._decode(running.prompt_ids) if self._request.echo else ""
            body = {"text": echoed + sample.text}
        logprobs = self._logprobs(tokens, running=running) if self._request.logprobs else None
        ids = {"token_ids": sample.token_ids} if self._request.return_token_ids else {}
        scored = {"score": sample.score} if sample.score is not None else {}
        return {
            "index": index,
            **body,
            "logprobs": logprobs,
            "finish_reason": sample.finish,
            **ids,
            **scored,
        }

    def opening(self, index: int) -> dict[str, Any]:
        """The first chunk of a chat choice: its role."""
        delta = {"role": "assistant", "content": ""}
        return self.chunk(
            [{"index": index, "delta": delta, "logprobs": None, "finish_reason": None}]
        )

    def echo_chunk(self, running: Running, index: int) -> dict[str, Any]:
        """The prompt itself, where it was asked for."""
        logprobs = self._logprobs([], running=running) if self._request.logprobs else None
        self._go_on(logprobs, index)
        text = self._decode(running.prompt_ids)
        return self.chunk(
            [{"index": index, "text": text, "logprobs": logprobs, "finish_reason": None}]
        )

    def piece(self, piece: Piece) -> dict[str, Any]:
        """One chunk of text."""
        shown = [token for token in piece.tokens if token.token_id not in self._stop_ids]
        logprobs = self._logprobs(shown, running=None) if self._request.logprobs else None
        self._go_on(logprobs, piece.index)
        is_chat = self._request.kind == "chat"
        body: dict[str, Any] = (
            {"delta": {"content": piece.text}} if is_chat else {"text": piece.text}
        )
        ids = (
            {"token_ids": [token.token_id for token in piece.tokens]}
            if self._request.return_token_ids
            else {}
        )
        return self.chunk(
            [
                {
                    "index": piece.index,
                    **body,
                    "logprobs": logprobs,
                    "finish_reason": piece.finish,
                    **ids,
                }
            ]
        )

    def chunk(self, choices: list[dict[str, Any]], **extra: Any) -> dict[str, Any]:
        """One event of a stream."""
        name = "chat.completion.chunk" if self._request.kind == "chat" else "text_completion"
        return {**self._head, "object": name, "choices": choices, **extra}

    def last(self) -> dict[str, Any]:
        """The event before the end of a stream: usage, and what was decided for the caller."""
        return self.chunk(
            [],
            usage=self.usage(),
            seed=self._request.settings.seed,
            dropped_messages=self._running[0].dropped_messages,
            **self._prompt_ids(),
        )

    def usage(self) -> dict[str, Any]:
        """Tokens read and drawn; a prompt counts once for all its samples."""
        read = sum(len(running.prompt_ids) for running in self._running)
        drawn = sum(len(s.tokens) for running in self._running for s in running.samples)
        cached = sum(running.prompt.cached_tokens for running in self._running if running.prompt)
        return {
            "prompt_tokens": read,
            "completion_tokens": drawn,
            "total_tokens": read + drawn,
            "prompt_tokens_details": {"cached_tokens": cached},
        }

    def _prompt_ids(self) -> dict[str, Any]:
        if not self._request.return_token_ids:
            return {}
        return {"prompt_token_ids": list(self._running[0].prompt_ids)}

    def _logprobs(self, tokens: Sequence[TokenDrawn], *, running: Running | None) -> dict[str, Any]:
        if self._request.kind == "chat":
            return {"content": [self._chat_token(token) for token in tokens], "refusal": None}
        ids = [token.token_id for token in tokens]
        costs: list[float | None] = [token.logprob for token in tokens]
        tops: list[dict[str, float] | None] = [self._top(token.top) for token in tokens]
        if self._request.echo and running is not None and running.prompt is not None:
            read: PromptRead = running.prompt
            ids = [*running.prompt_ids, *ids]
            costs = [None, *read.logprobs, *costs]
            tops = [None, *(self._top(top) for top in read.tops), *tops]
        texts = [self._text_of(each) for each in ids]
        offsets = [0, *itertools.accumulate(len(text) for text in texts)][: len(texts)]
        return {
            "tokens": texts,
            "token_logprobs": costs,
            "top_logprobs": tops,
            "text_offset": offsets,
        }

    def _go_on(self, logprobs: dict[str, Any] | None, index: int) -> None:
        """Count a choice's offsets on from its last event."""
        if logprobs is None or self._request.kind == "chat":
            return
        before = self._told[index]
        logprobs["text_offset"] = [before + offset for offset in logprobs["text_offset"]]
        self._told[index] += sum(len(text) for text in logprobs["tokens"])

    def _top(self, top: TopLogprobs) -> dict[str, float]:
        named: dict[str, float] = {}
        for token_id, logprob in top:
            named.setdefault(self._text_of(token_id), logprob)
        return named

    def _chat_token(self, token: TokenDrawn) -> dict[str, Any]:
        tops = [self._named(each, logprob) for each, logprob in token.top]
        return {**self._named(token.token_id, token.logprob), "top_logprobs": tops}

    def _named(self, token_id: int, logprob: float) -> dict[str, Any]:
        text = self._text_of(token_id)
        known = list(text.encode()) if "\ufffd" not in text else None
        return {"token": text, "logprob": logprob, "bytes": known}
