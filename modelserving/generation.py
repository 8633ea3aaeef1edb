"""One reply of a deployment: streamed, or the best of k; decides where the sampling and ranking happen.

Knows deployments and prompts; knows neither turns nor who asked.
"""

import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, cast

from modelserving.client.calls import Call, Event, Needed, fetch
from modelserving.client.calls import stream as stream_events
from modelserving.client.endpoints import Endpoint, model_servers, outside_endpoint
from modelserving.client.errors import EndpointError, Refused
from modelserving.core.completion import Completion, Delta, FinishReason, storable
from modelserving.core.evidence import Condition
from modelserving.core.ranking import NotRankable, ranked
from modelserving.models import Checkpoint, Deployment
from modelserving.registry import directory_of

logger = logging.getLogger(__name__)

Message = Mapping[str, str]
MOST_CHARACTERS = 400_000  # of one reply; far above any max_new_tokens we allow
SCORES_AT_ONCE = 64


class GenerationFailed(Exception):
    """No whole reply came. `is_retryable`: asking again may help."""

    def __init__(self, reason: str, *, is_retryable: bool) -> None:
        """The reason is for staff and logs; it may name servers."""
        super().__init__(reason)
        self.reason = reason
        self.is_retryable = is_retryable


def never() -> bool:
    """For replies that nobody stops."""
    return False


def stream(
    deployment: Deployment,
    messages: Sequence[Message],
    *,
    seed: int,
    user: str,
    is_stopped: Callable[[], bool] = never,
) -> Iterator[Delta | Completion]:
    """Pieces of text as they come, then the whole. Best-of-k has no pieces."""
    asked = _Asked(deployment=deployment, messages=messages, seed=seed & (2**63 - 1), user=user)
    try:
        if deployment.ranker is None:
            yield from _stream(asked, is_stopped=is_stopped)
        elif deployment.checkpoint is not None:
            yield _best_of_ours(asked)
        else:
            yield _best_of_outside(asked)
    except (EndpointError, NotRankable) as failed:
        raise GenerationFailed(
            str(failed), is_retryable=not isinstance(failed, Refused)
        ) from failed


def score(checkpoint: Checkpoint, dialogues: Sequence[Sequence[Message]]) -> list[float]:
    """A preference model's scores of dialogues that end on a reply."""
    scores: list[float] = []
    for first in range(0, len(dialogues), SCORES_AT_ONCE):
        asked = [list(each) for each in dialogues[first : first + SCORES_AT_ONCE]]
        content = {"model": checkpoint.hash, "dialogues": asked}
        try:
            answer = fetch(
                Call(
                    route="/v1/scores", content=content, servers=model_servers,
                    needs=[needed(checkpoint)],
                )
            )  # fmt: skip
        except EndpointError as failed:
            is_retryable = not isinstance(failed, Refused)
            raise GenerationFailed(str(failed), is_retryable=is_retryable) from failed
        scores += [float(value) for value in answer.get("scores") or ()]
    if len(scores) != len(dialogues):
        raise GenerationFailed("the model server scored too few dialogues", is_retryable=True)
    return scores


def answers(deployment: Deployment) -> Condition:
    """The gate that a deployment replies at all; asking loads and warms its checkpoints too."""
    prompt = [{"role": "user", "content": "Hello"}]
    try:
        *_, last = stream(deployment, prompt, seed=1, user="gate")
    except GenerationFailed as failed:
        return Condition(name="it answers", standing="not_met", says=failed.reason[:200])
    has_text = isinstance(last, Completion) and bool(last.text.strip())
    says = "" if has_text else "the reply is empty"
    return Condition(name="it answers", standing="met" if has_text else "not_met", says=says)


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """What was asked of a deployment, and since when."""

    deployment: Deployment
    messages: Sequence[Message]
    seed: int
    user: str
    begun: float = field(default_factory=time.monotonic)

    @property
    def milliseconds(self) -> int:
        """Time since it was asked."""
        return round((time.monotonic() - self.begun) * 1000)

    @property
    def clean_messages(self) -> list[dict[str, str]]:
        """The messages as JSON can carry them."""
        return [
            {"role": each["role"], "content": storable(each["content"])} for each in self.messages
        ]

    @property
    def prompt_sha256(self) -> str:
        """Identifies the prompt exactly."""
        text = json.dumps(self.clean_messages, ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(text.encode("utf-8")).hexdigest()

    @property
    def sampling(self) -> dict[str, Any]:
        """The settings of the reply, as it stores them."""
        deployment = self.deployment
        stored: dict[str, Any] = {
            "temperature": deployment.temperature,
            "top_p": deployment.top_p,
            "max_new_tokens": deployment.max_new_tokens,
        }
        if deployment.ranker is not None:
            stored |= {"best_of": deployment.best_of, "ranker": deployment.ranker.hash}
        return stored

    def call(self, *, is_stopped: Callable[[], bool] = never, **more: Any) -> Call:
        """The request to whoever serves the deployment."""
        deployment = self.deployment
        content: dict[str, Any] = {
            "messages": self.clean_messages,
            "temperature": deployment.temperature,
            "top_p": deployment.top_p,
            "max_tokens": deployment.max_new_tokens,
            "seed": self.seed,
            "user": self.user,
            **more,
        }
        if deployment.checkpoint is None:
            outside = outside_endpoint(
                deployment.endpoint_url, secret_env=deployment.endpoint_secret_env
            )
            content["model"] = deployment.endpoint_model
            route, servers, needs = "/chat/completions", [outside], []
        else:
            content |= {"model": deployment.checkpoint.hash, "return_token_ids": True}
            route, servers = "/v1/chat/completions", None
            ranker = [deployment.ranker] if deployment.ranker else []
            needs = [needed(each) for each in [deployment.checkpoint, *ranker]]
        return Call(
            route=route,
            content=content,
            servers=model_servers if servers is None else _always(servers),
            needs=needs,
            is_stopped=is_stopped,
        )


def _always(servers: list[Endpoint]) -> Callable[[], list[Endpoint]]:
    return lambda: servers


def needed(checkpoint: Checkpoint) -> Needed:
    """How a server is asked for the checkpoint."""
    return Needed(name=checkpoint.hash, path=str(directory_of(checkpoint)))


def _stream(asked: _Asked, *, is_stopped: Callable[[], bool]) -> Iterator[Delta | Completion]:
    pieces: list[str] = []
    token_ids: list[int] = []
    finish: str | None = None
    first: int | None = None
    length = 0
    with closing(stream_events(asked.call(is_stopped=is_stopped, stream=True))) as events:
        for event in events:
            choice = _choice(event)
            token_ids += _ids(choice)
            finish = choice.get("finish_reason") or finish
            text = storable(str((choice.get("delta") or {}).get("content") or ""))
            if text:
                first = asked.milliseconds if first is None else first
                length += len(text)
                pieces.append(text)
                yield Delta(text)
            if length > MOST_CHARACTERS:
                raise GenerationFailed("the reply is endless", is_retryable=False)
            if finish is None and is_stopped():
                finish = "stopped"
                break
    yield Completion(
        text="".join(pieces),
        token_ids=tuple(token_ids),
        finish_reason=_finish(finish),
        seed=asked.seed,
        first_token_milliseconds=first,
        total_milliseconds=asked.milliseconds,
        prompt_sha256=asked.prompt_sha256,
        sampling=asked.sampling,
    )


def _best_of_ours(asked: _Asked) -> Completion:
    """One request: the server samples, ranks and returns every candidate, best first."""
    ranker = cast("Checkpoint", asked.deployment.ranker)
    call = asked.call(
        stream=True, best_of=asked.deployment.best_of, ranker=ranker.hash, return_all=True
    )
    candidates: list[Mapping[str, Any]] = []
    for event in stream_events(call):
        stated = event.get("best_of")
        if isinstance(stated, Mapping) and stated.get("candidates"):
            candidates = [_candidate(each) for each in stated["candidates"]]
    return _best(asked, candidates)


def _best_of_outside(asked: _Asked) -> Completion:
    """Sample k at the outside endpoint, then have our ranker score them."""
    answer = fetch(asked.call(n=asked.deployment.best_of))
    choices = [each for each in answer.get("choices") or () if isinstance(each, Mapping)]
    texts = [storable(str((each.get("message") or {}).get("content") or "")) for each in choices]
    if not texts:
        raise GenerationFailed("the endpoint sent no sample", is_retryable=True)
    ranker = cast("Checkpoint", asked.deployment.ranker)
    dialogues = [[*asked.clean_messages, {"role": "assistant", "content": text}] for text in texts]
    scores = score(ranker, dialogues)
    sampled = [
        {
            "text": text,
            "score": value,
            "finish_reason": _finish(choice.get("finish_reason")),
            "token_ids": [],
        }
        for text, value, choice in zip(texts, scores, choices, strict=True)
    ]
    return _best(asked, [sampled[place] for place in ranked(scores)])


def _best(asked: _Asked, candidates: Sequence[Mapping[str, Any]]) -> Completion:
    if not candidates:
        raise GenerationFailed("the model server returned no candidate", is_retryable=True)
    best = candidates[0]
    return Completion(
        text=best["text"],
        token_ids=tuple(best["token_ids"]),
        finish_reason=best["finish_reason"],
        seed=asked.seed,
        score=best["score"],
        candidates=tuple(candidates),
        total_milliseconds=asked.milliseconds,
        prompt_sha256=asked.prompt_sha256,
        sampling=asked.sampling,
    )


def _candidate(stated: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "text": storable(str(stated.get("text") or "")),
        "score": float(stated["score"]) if stated.get("score") is not None else None,
        "finish_reason": _finish(stated.get("finish_reason")),
        "token_ids": _ids(stated),
    }


def _choice(event: Event) -> Mapping[str, Any]:
    choices = event.get("choices") or [{}]
    return choices[0] if isinstance(choices, list) and isinstance(choices[0], Mapping) else {}


def _ids(stated: Mapping[str, Any]) -> list[int]:
    ids = stated.get("token_ids")
    return [each for each in ids if isinstance(each, int)] if isinstance(ids, list) else []


def _finish(stated: object) -> FinishReason:
    """Only a reply that says how it ended is whole."""
    if stated in {"stop", "length", "stopped"}:
        return stated
    raise GenerationFailed(f"the reply ended by {stated or 'nothing'}", is_retryable=stated is None)
