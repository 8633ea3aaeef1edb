"""From a checked request to text: tokenise, submit to the engine, turn tokens into pieces of text, rank.

Does not know HTTP or the JSON of answers.
"""

import asyncio
import uuid
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import dataclass, field

from modelserving.core.dialogue import (
    CHARACTERS_OF_A_TOKEN,
    DialogueError,
    encode_prompt,
    reply_opening,
)
from modelserving.core.ranking import mean_logprob, ranked
from modelserving.core.sampling import sample_seed
from modelserving.core.text_stream import TextStream
from modelserving.lm.sample_requests import Event, PromptRead, SampleRequest, TokenDrawn
from modelserving.lm.stopping import stop_ids
from modelserving.server.checkpoints import ServedCheckpoint
from modelserving.server.engine import Engine
from modelserving.server.errors import BadRequest, GenerationFailed, ServingError
from modelserving.server.jobs import SampleJob
from modelserving.server.protocol import GenerationRequest, Prompt
from modelserving.server.scores import ranker_named, score

CONTINUED = 8  # tokens of a prompt that its completion's text is read with: the last words
LONG_TEXT = 20_000  # characters above which tokenising leaves the event loop


@dataclass(kw_only=True)
class Sample:
    """One sample as it grows. `fresh` are the tokens whose text is not shown yet."""

    stream: TextStream
    text: str = ""
    tokens: list[TokenDrawn] = field(default_factory=list)  # with the stop token, if it came to one
    shown: int = 0  # tokens handed out with pieces so far
    finish: str | None = None
    score: float | None = None

    @property
    def token_ids(self) -> list[int]:
        """All tokens drawn."""
        return [token.token_id for token in self.tokens]

    def visible(self, stop_ids: frozenset[int]) -> list[TokenDrawn]:
        """The tokens that make up the text: all but a final stop token."""
        ends = bool(self.tokens) and self.tokens[-1].token_id in stop_ids
        return self.tokens[: len(self.tokens) - ends]


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A piece of text of one choice, with the tokens it came from."""

    index: int
    text: str
    tokens: tuple[TokenDrawn, ...]
    finish: str | None


@dataclass(kw_only=True, eq=False)
class Running:
    """One prompt with the engine, and its samples."""

    job: SampleJob
    checkpoint: ServedCheckpoint
    first_index: int
    samples: list[Sample]
    dropped_messages: int = 0
    prompt: PromptRead | None = None

    @property
    def is_done(self) -> bool:
        """Whether every sample has come to its end."""
        return all(sample.finish is not None for sample in self.samples)

    @property
    def prompt_ids(self) -> tuple[int, ...]:
        """The prompt as the model read it."""
        return self.job.request.prompt


async def start(request: GenerationRequest, *, engine: Engine, now: float) -> list[Running]:
    """Tokenise the prompts and hand them to the engine."""
    checkpoint = engine.find(request.model)
    if checkpoint.sampler is None:
        raise BadRequest(
            f"{request.model!r} is a preference model: ask /v1/scores", code="wrong_checkpoint_kind"
        )
    if request.best_of is not None and request.best_of.ranker is not None:
        ranker_named(request.best_of.ranker, engine=engine)  # before anything is drawn
    encoded = await _encoded(request, checkpoint)
    count = request.best_of.k if request.best_of else request.n
    found: list[Running] = []
    call = uuid.uuid4().hex
    for number, (ids, dropped) in enumerate(encoded):
        sampling = _sample_request(request, ids, number=number, count=count, checkpoint=checkpoint)
        job = SampleJob(request=sampling, user=request.user, call=call, submitted=now)
        decode = checkpoint.loaded.tokenizer.decode
        stops = stop_strings(request, checkpoint)
        before = ids[-CONTINUED:] if request.kind == "completion" else ()
        layout = checkpoint.loaded.dialogue_format
        opening = reply_opening(layout) if request.kind == "chat" else ""
        samples = [
            Sample(stream=TextStream(decode=decode, stop=stops, before=before, opening=opening))
            for _ in range(count)
        ]
        found.append(
            Running(
                job=job, checkpoint=checkpoint, first_index=number * count, samples=samples,
                dropped_messages=dropped,
            )
        )  # fmt: skip
    engine.submit([running.job for running in found], checkpoint=checkpoint)
    return found


def stop_strings(request: GenerationRequest, checkpoint: ServedCheckpoint) -> tuple[str, ...]:
    """The caller's stop texts and, in a chat, the dialogue format's."""
    own = checkpoint.loaded.dialogue_format.stop_strings if request.kind == "chat" else ()
    return (*request.settings.stop, *own)


async def pieces(
    running: Running, *, engine: Engine, deadline: float
) -> AsyncGenerator[Piece, None]:
    """Text as it becomes certain, until every sample is done; `deadline` is in seconds from now."""
    try:
        async with asyncio.timeout(deadline):
            while not running.is_done:
                delivery = await running.job.outlet.get()
                if isinstance(delivery, ServingError):
                    raise delivery
                for piece in _pieces_of(running, delivery, engine=engine):
                    yield piece
    except TimeoutError:
        raise GenerationFailed("the reply took too long", code="deadline") from None
    finally:
        if not running.is_done:
            engine.cancel(running.job, checkpoint=running.checkpoint)


def _pieces_of(running: Running, events: Sequence[Event], *, engine: Engine) -> Iterator[Piece]:
    for event in events:
        if isinstance(event, PromptRead):
            running.prompt = event
            if running.job.request.max_tokens == 0:
                yield from _finish_empty(running)
            continue
        sample = running.samples[event.sample]
        if sample.finish is not None:
            continue
        piece = _take(running, event, ends=running.job.request.stop_ids)
        if sample.stream.stopped:
            engine.cancel(running.job, checkpoint=running.checkpoint, sample=event.sample)
        if piece is not None:
            yield piece


def _take(running: Running, event: TokenDrawn, *, ends: frozenset[int]) -> Piece | None:
    """Add a token to its sample; a piece, once there is something to show."""
    sample = running.samples[event.sample]
    sample.tokens.append(event)
    text = "" if event.token_id in ends else sample.stream.push(event.token_id)
    if sample.stream.stopped:
        sample.finish = "stop"
    elif event.finish:
        text += sample.stream.close()
        sample.finish = "stop" if sample.stream.stopped else event.finish
    if not text and sample.finish is None:
        return None
    sample.text += text
    fresh = tuple(sample.tokens[sample.shown :])
    sample.shown = len(sample.tokens)
    index = running.first_index + event.sample
    return Piece(index=index, text=text, tokens=fresh, finish=sample.finish)


def _finish_empty(running: Running) -> Iterator[Piece]:
    for place, sample in enumerate(running.samples):
        sample.finish = "length"
        yield Piece(index=running.first_index + place, text="", tokens=(), finish="length")


async def rank(
    request: GenerationRequest, running: Running, *, engine: Engine, deadline: float
) -> list[int]:
    """Score the samples of one prompt; their places, best first. `deadline` is in seconds from now."""
    assert request.best_of is not None
    samples = running.samples
    if request.best_of.ranker is None:
        values = [mean_logprob([token.logprob for token in sample.tokens]) for sample in samples]
    else:
        messages = list(request.messages)
        dialogues = [[*messages, {"role": "assistant", "content": s.text}] for s in samples]
        values = await score(
            dialogues, ranker=request.best_of.ranker, engine=engine, deadline=deadline
        )
    for sample, value in zip(samples, values, strict=True):
        sample.score = value
    return ranked(values)


async def _encoded(
    request: GenerationRequest, checkpoint: ServedCheckpoint
) -> list[tuple[tuple[int, ...], int]]:
    """Token ids of each prompt, and how many messages did not fit."""
    if request.kind == "chat":
        size = sum(len(message["content"]) for message in request.messages)
        function = lambda: [_encode_chat(request, checkpoint)]  # noqa: E731
    else:
        size = sum(len(prompt) for prompt in request.prompts if isinstance(prompt, str))
        function = lambda: [_encode_prompt(each, checkpoint) for each in request.prompts]  # noqa: E731
    try:
        return await asyncio.to_thread(function) if size > LONG_TEXT else function()
    except DialogueError as wrong:
        raise BadRequest(str(wrong), code="invalid_dialogue") from None


def _encode_chat(
    request: GenerationRequest, checkpoint: ServedCheckpoint
) -> tuple[tuple[int, ...], int]:
    layout = checkpoint.loaded.dialogue_format
    # of an over-long dialogue so much is left out as the reply needs, but for half of the context
    kept_free = min(request.settings.max_tokens, layout.context_tokens // 2)
    encoded = encode_prompt(
        request.messages, encoder=checkpoint.loaded.tokenizer, layout=layout,
        room=layout.context_tokens - kept_free,
    )  # fmt: skip
    return tuple(encoded.token_ids), encoded.dropped_messages


def _encode_prompt(prompt: Prompt, checkpoint: ServedCheckpoint) -> tuple[tuple[int, ...], int]:
    if isinstance(prompt, str):
        if len(prompt) > context_tokens(checkpoint) * CHARACTERS_OF_A_TOKEN:
            raise BadRequest(
                f"the prompt has {len(prompt)} characters, the context {context_tokens(checkpoint)} tokens: "
                "shorten it",
                code="context_length_exceeded",
            )
        return tuple(checkpoint.loaded.tokenizer.encode(prompt)), 0
    return prompt, 0


def _sample_request(
    request: GenerationRequest,
    ids: tuple[int, ...],
    *,
    number: int,
    count: int,
    checkpoint: ServedCheckpoint,
) -> SampleRequest:
    settings = request.settings
    context = context_tokens(checkpoint)
    if not ids:
        raise BadRequest("the prompt is empty", code="invalid_value")
    size = checkpoint.loaded.model.config.vocab_size
    if max(ids) >= size:  # of a text too, where the tokenizer knows more than the model
        raise BadRequest(f"a token id is not below the vocabulary of {size}", code="invalid_value")
    if len(ids) > context - (settings.max_tokens > 0):
        raise BadRequest(
            f"the prompt has {len(ids)} tokens, the context {context}: shorten it",
            code="context_length_exceeded",
        )
    seed = sample_seed(seed=settings.seed, index=number)
    return SampleRequest(
        key=uuid.uuid4().hex,
        prompt=ids,
        seeds=tuple(sample_seed(seed=seed, index=index) for index in range(count)),
        max_tokens=min(settings.max_tokens, context - len(ids)),
        temperature=settings.temperature,
        top_p=settings.top_p,
        stop_ids=stop_ids(checkpoint.loaded),
        top_logprobs=request.top_logprobs,
        prompt_logprobs=request.echo and request.logprobs,
    )


def context_tokens(checkpoint: ServedCheckpoint) -> int:
    """The longest sequence the model can read."""
    loaded = checkpoint.loaded
    return loaded.positions or loaded.dialogue_format.context_tokens
