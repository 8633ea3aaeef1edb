"""What clients may ask for: the JSON of the OpenAI API and our extensions, checked and typed.

Does not know the engine, tokens or HTTP.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from modelserving.core.sampling import SamplingError, SamplingSettings
from modelserving.server.errors import BadRequest

MOST_SAMPLES = 64
MOST_TOP_LOGPROBS = 20
MOST_PROMPTS = 256
MOST_CHOICES = 4096  # of all prompts together
MOST_DIALOGUES = 1024
MOST_STOPS = 8
DEFAULT_MAX_TOKENS = 256
# what would change the text and is not computed here, with the values that change nothing
AT_REST: Mapping[str, Sequence[Any]] = {
    "suffix": ("",), "tools": ([],), "functions": ([],), "logit_bias": ({},),
    "presence_penalty": (0,), "frequency_penalty": (0,), "repetition_penalty": (1,),
    "top_k": (0, -1), "min_p": (0,), "response_format": ({"type": "text"},),
}  # fmt: skip
Prompt = str | tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class BestOf:
    """Sample `k`, let `ranker` score them (or the mean log-probability, without one), return the best."""

    k: int
    ranker: str | None
    return_all: bool


@dataclass(frozen=True, kw_only=True)
class GenerationRequest:
    """One call of /v1/chat/completions (messages) or /v1/completions (prompts)."""

    kind: Literal["chat", "completion"]
    model: str
    messages: tuple[Mapping[str, str], ...]
    prompts: tuple[Prompt, ...]
    n: int
    settings: SamplingSettings
    stream: bool
    include_usage: bool
    logprobs: bool
    top_logprobs: int
    echo: bool
    best_of: BestOf | None
    return_token_ids: bool
    user: str


@dataclass(frozen=True, kw_only=True)
class ScoresRequest:
    """One call of /v1/scores."""

    model: str
    dialogues: tuple[tuple[Mapping[str, str], ...], ...]


class Fields:
    """Reads typed values out of a JSON object; null counts as absent."""

    def __init__(self, content: Mapping[str, Any]) -> None:
        """Wrap the parsed body."""
        self._content = content

    def has(self, name: str) -> bool:
        """Whether the field is there and not null."""
        return self._content.get(name) is not None

    def raw(self, name: str) -> Any:
        """The value as it came."""
        return self._content.get(name)

    def text(self, name: str, *, default: str | None = None) -> str:
        """A text."""
        value = self._content.get(name)
        value = default if value is None else value
        if not isinstance(value, str):
            raise BadRequest(f"{name} must be a text", code="invalid_value")
        return _encodable(value, name=name)

    def flag(self, name: str) -> bool:
        """True or false; absent is false."""
        value = self._content.get(name)
        if value is not None and not isinstance(value, bool):
            raise BadRequest(f"{name} must be true or false", code="invalid_value")
        return bool(value)

    def number(self, name: str, *, default: float) -> float:
        """A finite number."""
        value = self._content.get(name, default)
        value = default if value is None else value
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not abs(value) <= sys.float_info.max:  # a whole number may be larger
            raise BadRequest(f"{name} must be a finite number", code="invalid_value")
        return float(value)

    def whole(self, name: str, *, default: int, least: int, most: int) -> int:
        """A whole number in a range."""
        value = self._content.get(name)
        value = default if value is None else value
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise BadRequest(
                f"{name} must be a whole number from {least} to {most}", code="invalid_value"
            )
        return value


def parse_chat(content: Mapping[str, Any], *, fresh_seed: int) -> GenerationRequest:
    """Check a chat request; `fresh_seed` is used where none is given."""
    fields = Fields(content)
    logprobs = fields.flag("logprobs")
    top = fields.whole("top_logprobs", default=0, least=0, most=MOST_TOP_LOGPROBS)
    most_tokens = "max_completion_tokens" if fields.has("max_completion_tokens") else "max_tokens"
    return GenerationRequest(
        kind="chat",
        messages=_messages(fields.raw("messages"), name="messages"),
        prompts=(),
        logprobs=logprobs,
        top_logprobs=top if logprobs else 0,
        echo=False,
        settings=_settings(fields, max_tokens=most_tokens, least_tokens=1, fresh_seed=fresh_seed),
        **_common(fields),
    )


def parse_completion(content: Mapping[str, Any], *, fresh_seed: int) -> GenerationRequest:
    """Check a plain completion request; `fresh_seed` is used where none is given."""
    fields = Fields(content)
    echo = fields.flag("echo")
    logprobs = fields.has("logprobs") and fields.raw("logprobs") is not False
    if fields.has("ranker"):
        raise BadRequest(
            "ranker scores dialogues: ask /v1/chat/completions for it", code="unsupported"
        )
    prompts, common = _prompts(fields.raw("prompt")), _common(fields)
    samples = common["best_of"].k if common["best_of"] else common["n"]
    if len(prompts) * samples > MOST_CHOICES:
        raise BadRequest(
            f"{len(prompts)} prompts of {samples} samples are more than {MOST_CHOICES}: send less at once",
            code="invalid_value",
        )
    return GenerationRequest(
        kind="completion",
        messages=(),
        prompts=prompts,
        logprobs=logprobs,
        top_logprobs=fields.whole("logprobs", default=0, least=0, most=MOST_TOP_LOGPROBS)
        if logprobs
        else 0,
        echo=echo,
        settings=_settings(
            fields, max_tokens="max_tokens", least_tokens=0 if echo else 1, fresh_seed=fresh_seed
        ),
        **common,
    )


def parse_scores(content: Mapping[str, Any]) -> ScoresRequest:
    """Check a scoring request."""
    fields = Fields(content)
    dialogues = fields.raw("dialogues")
    if not isinstance(dialogues, list) or not 1 <= len(dialogues) <= MOST_DIALOGUES:
        raise BadRequest(f"dialogues must be a list of 1 to {MOST_DIALOGUES}", code="invalid_value")
    checked = tuple(_messages(each, name=f"dialogues[{i}]") for i, each in enumerate(dialogues))
    return ScoresRequest(model=fields.text("model"), dialogues=checked)


def _common(fields: Fields) -> dict[str, Any]:
    for name, rest in AT_REST.items():
        if fields.has(name) and fields.raw(name) not in rest:
            raise BadRequest(f"{name} is not supported: leave it out", code="unsupported")
    n = fields.whole("n", default=1, least=1, most=MOST_SAMPLES)
    options = fields.raw("stream_options") or {}
    if not isinstance(options, Mapping):
        raise BadRequest("stream_options must be an object", code="invalid_value")
    return {
        "model": fields.text("model"),
        "n": n,
        "stream": fields.flag("stream"),
        "include_usage": Fields(options).flag("include_usage"),
        "best_of": _best_of(fields, n=n),
        "return_token_ids": fields.flag("return_token_ids"),
        "user": fields.text("user", default="")[:200],
    }


def _best_of(fields: Fields, *, n: int) -> BestOf | None:
    k = fields.whole("best_of", default=n, least=1, most=MOST_SAMPLES)
    ranker = fields.text("ranker") if fields.has("ranker") else None
    return_all = fields.flag("return_all")
    if k < n:
        raise BadRequest(
            f"best_of is {k}, n is {n}: best_of must be at least n", code="invalid_value"
        )
    if (ranker or return_all) and not fields.has("best_of"):
        raise BadRequest("ranker and return_all need best_of", code="invalid_value")
    if k == n and ranker is None and not return_all:
        return None
    return BestOf(k=k, ranker=ranker, return_all=return_all)


def _settings(
    fields: Fields, *, max_tokens: str, least_tokens: int, fresh_seed: int
) -> SamplingSettings:
    stop = fields.raw("stop")
    stops = [] if stop is None else [stop] if isinstance(stop, str) else stop
    if not isinstance(stops, list) or len(stops) > MOST_STOPS:
        raise BadRequest(f"stop must be a text or up to {MOST_STOPS} texts", code="invalid_value")
    if not all(isinstance(text, str) and len(text) <= 200 for text in stops):
        raise BadRequest(
            "stop holds something else than texts of up to 200 characters", code="invalid_value"
        )
    stops = [_encodable(text, name="stop") for text in stops]
    try:
        return SamplingSettings(
            temperature=fields.number("temperature", default=1.0),
            top_p=fields.number("top_p", default=1.0),
            max_tokens=fields.whole(
                max_tokens, default=DEFAULT_MAX_TOKENS, least=least_tokens, most=1_000_000
            ),
            stop=tuple(stops),
            seed=fields.whole("seed", default=fresh_seed, least=-(2**63), most=2**64 - 1),
        )
    except SamplingError as wrong:
        raise BadRequest(str(wrong), code="invalid_value") from None


def _messages(value: Any, *, name: str) -> tuple[Mapping[str, str], ...]:
    if not isinstance(value, list) or not value:
        raise BadRequest(f"{name} must be a list with at least one message", code="invalid_value")
    return tuple(_message(each, name=f"{name}[{index}]") for index, each in enumerate(value))


def _message(value: Any, *, name: str) -> Mapping[str, str]:
    if not isinstance(value, Mapping) or not isinstance(value.get("role"), str):
        raise BadRequest(f"{name} must be an object with role and content", code="invalid_value")
    content = value.get("content")
    if isinstance(content, list):  # the API's list of parts; ours are all text
        parts = [part.get("text") if isinstance(part, Mapping) else None for part in content]
        content = "".join(parts) if all(isinstance(part, str) for part in parts) else None
    if not isinstance(content, str):
        raise BadRequest(f"{name}.content must be a text", code="invalid_value")
    return {"role": value["role"], "content": _encodable(content, name=name)}


def _prompts(value: Any) -> tuple[Prompt, ...]:
    if isinstance(value, str) or (isinstance(value, list) and value and _is_id(value[0])):
        value = [value]
    if not isinstance(value, list) or not 1 <= len(value) <= MOST_PROMPTS:
        raise BadRequest(
            f"prompt must be one text or token list, or up to {MOST_PROMPTS}", code="invalid_value"
        )
    return tuple(_prompt(each) for each in value)


def _prompt(value: Any) -> Prompt:
    if isinstance(value, str):
        return _encodable(value, name="prompt")
    if isinstance(value, Sequence) and value and all(_is_id(each) for each in value):
        return tuple(value)
    raise BadRequest("prompt must hold texts or non-empty lists of token ids", code="invalid_value")


def _is_id(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _encodable(text: str, *, name: str) -> str:
    """JSON can spell half a surrogate pair, which is not text."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise BadRequest(
            f"{name} holds half a surrogate pair: send whole characters", code="invalid_value"
        ) from None
    return text
