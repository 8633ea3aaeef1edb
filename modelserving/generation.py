"""One reply of a deployment: streamed, or the best of k; decides where the sampling and ranking happen.

Knows deployments and prompts; knows neither turns nor who asked.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any, cast

from modelserving.asking import Asked, Message, needed, never
from modelserving.client.calls import PATIENCE, SCORE_SECONDS, Call, Event, fetch
from modelserving.client.calls import stream as stream_events
from modelserving.client.endpoints import model_servers
from modelserving.client.errors import EndpointError, Refused
from modelserving.core.completion import Completion, Delta, FinishReason, storable
from modelserving.core.evidence import Condition
from modelserving.core.ranking import NotRankable, ranked
from modelserving.models import Checkpoint, Deployment

logger = logging.getLogger(__name__)

MOST_CHARACTERS = 400_000  # of one reply; far above any max_new_tokens we allow
SCORES_AT_ONCE = 64
GATE_PATIENCE = 10.0  # a person waits for the gate
GATE_SEEDS = range(1, 5)  # a policy may end a reply before its first word now and then


class GenerationFailed(Exception):
    """No whole reply came. `is_retryable`: asking again may help."""

    def __init__(self, reason: str, *, is_retryable: bool, brief: str = "") -> None:
        """The reason is for who asked, and may quote an endpoint; what is kept and logged is `brief`."""
        super().__init__(reason)
        self.reason = reason
        self.brief = brief or reason
        self.is_retryable = is_retryable


def stream(
    deployment: Deployment,
    messages: Sequence[Message],
    *,
    seed: int,
    user: str,
    is_stopped: Callable[[], bool] = never,
    patience: float = PATIENCE,
) -> Iterator[Delta | Completion]:
    """Pieces of text as they come, then the whole. Best-of-k has no pieces.

    `patience` is how many seconds to wait for a server that is full or being restarted.
    """
    asked = Asked(
        deployment=deployment, messages=messages, seed=seed & (2**63 - 1), user=user,
        patience=patience,
    )  # fmt: skip
    try:
        if deployment.ranker is None:
            yield from _stream(asked, is_stopped=is_stopped)
        elif deployment.checkpoint is not None:
            yield _best_of_ours(asked)
        else:
            yield _best_of_outside(asked)
    except EndpointError as failed:
        raise _failed(failed) from failed
    except NotRankable as failed:
        raise GenerationFailed(str(failed), is_retryable=True) from failed


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
                    needs=[needed(checkpoint)], read_seconds=SCORE_SECONDS,
                )
            )  # fmt: skip
        except EndpointError as failed:
            raise _failed(failed) from failed
        scores += [float(value) for value in answer.get("scores") or ()]
    if len(scores) != len(dialogues):
        raise GenerationFailed("the model server scored too few dialogues", is_retryable=True)
    return scores


def _failed(failed: EndpointError) -> GenerationFailed:
    is_retryable = not isinstance(failed, Refused)
    return GenerationFailed(str(failed), is_retryable=is_retryable, brief=failed.brief)


def answers(deployment: Deployment) -> Condition:
    """The gate that a deployment replies at all; asking loads and warms its checkpoints too."""
    prompt = [{"role": "user", "content": "Hello"}]
    for seed in GATE_SEEDS:
        try:
            *_, last = stream(deployment, prompt, seed=seed, user="gate", patience=GATE_PATIENCE)
        except GenerationFailed as failed:
            return Condition(name="it answers", standing="not_met", says=failed.reason[:200])
        if isinstance(last, Completion) and last.text.strip():
            return Condition(name="it answers", standing="met")
    says = f"its replies to {len(GATE_SEEDS)} seeds are empty"
    return Condition(name="it answers", standing="not_met", says=says)


def _stream(asked: Asked, *, is_stopped: Callable[[], bool]) -> Iterator[Delta | Completion]:
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


def _best_of_ours(asked: Asked) -> Completion:
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


def _best_of_outside(asked: Asked) -> Completion:
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


def _best(asked: Asked, candidates: Sequence[Mapping[str, Any]]) -> Completion:
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
    raise GenerationFailed(
        f"unknown finish reason {stated!r}" if stated else "the reply has no finish reason",
        is_retryable=stated is None,
        brief="unknown finish reason" if stated else "",
    )
