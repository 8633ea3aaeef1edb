"""Render dialogues to text or token ids in the one format that training and serving share.

It does not know any tokenizer's inside, nor torch: it takes any object with `encode` and `token_id`.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, Protocol

Message = Mapping[str, str]  # {"role": "user" | "assistant", "content": str}
Dialogue = Sequence[Message]
FormatName = Literal["tokens", "hh_text", "chat_template"]
FORMAT_NAMES: tuple[FormatName, ...] = ("tokens", "hh_text", "chat_template")


class DialogueError(ValueError):
    """A dialogue that cannot be rendered; the message says which turn and why."""


class TextEncoder(Protocol):
    """What rendering needs of a tokenizer."""

    def encode(self, text: str) -> list[int]:
        """Token ids of plain text; text that looks like a special token stays text."""
        ...

    def token_id(self, token: str) -> int:
        """Id of one special token."""
        ...


@dataclass(frozen=True, kw_only=True)
class DialogueFormat:
    """How a checkpoint reads dialogues; stored beside the weights as dialogue.json."""

    format: FormatName = "tokens"
    end_of_turn: str = "<|endoftext|>"
    end_of_context: str = "<|score|>"
    human: str = "<|human|>"
    assistant: str = "<|assistant|>"
    context_tokens: int = 512
    score_center: float | None = None  # preference models only: subtracted from every raw score
    stop_strings: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        if self.format not in FORMAT_NAMES:
            raise DialogueError(f"dialogue format {self.format!r} is not one of {FORMAT_NAMES}")
        if self.context_tokens < 16:
            raise DialogueError(
                f"context_tokens is {self.context_tokens}: set it to 16 or more in dialogue.json, "
                "or a run's max_tokens"
            )

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "DialogueFormat":
        """Read dialogue.json; unknown keys are refused so that a typing error is seen."""
        known = {f.name for f in fields(cls)}
        unknown = sorted(set(stored) - known)
        if unknown:
            raise DialogueError(f"dialogue.json has unknown keys {unknown}; known: {sorted(known)}")
        values = dict(stored)
        if "stop_strings" in values:
            values["stop_strings"] = tuple(values["stop_strings"])
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """The content of dialogue.json."""
        stored = asdict(self)
        stored["stop_strings"] = list(self.stop_strings)
        return stored


CHARACTERS_OF_A_TOKEN = 128  # at most: the longest in the vocabularies of the listed architectures
HH_TEXT = DialogueFormat(
    format="hh_text",
    human="\n\nHuman:",
    assistant="\n\nAssistant:",
    stop_strings=("\n\nHuman:",),
)


def check_dialogue(dialogue: Dialogue) -> None:
    """Refuse anything that is not user, assistant, user … with string contents."""
    if not isinstance(dialogue, Sequence) or not dialogue:
        raise DialogueError("the dialogue has no message: give at least one user message")
    for index, message in enumerate(dialogue):
        if not isinstance(message, Mapping):
            raise DialogueError(f"message {index} is not an object with role and content")
        expected = "user" if index % 2 == 0 else "assistant"
        if message.get("role") != expected:
            raise DialogueError(
                f"message {index} has role {message.get('role')!r}, expected {expected!r}: "
                "dialogues alternate and begin with the user"
            )
        if not isinstance(message.get("content"), str):
            raise DialogueError(f"message {index} has no text content")
        if not is_whole(message["content"]):
            raise DialogueError(f"message {index} holds half of a surrogate pair")


def is_whole(text: str) -> bool:
    """False where it holds half of a surrogate pair, which JSON can spell and no tokenizer reads."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def encode_turn(message: Message, *, encoder: TextEncoder, layout: DialogueFormat) -> list[int]:
    """Token ids of one message: role, text and, for a reply, the end of turn."""
    is_reply = message["role"] == "assistant"
    if layout.format == "hh_text":
        role = layout.assistant if is_reply else layout.human
        return encoder.encode(f"{role} {message['content']}")
    role = layout.assistant if is_reply else layout.human
    ids = [encoder.token_id(role), *encoder.encode(message["content"])]
    if is_reply:
        ids.append(encoder.token_id(layout.end_of_turn))
    return ids


def encode_response(text: str, *, encoder: TextEncoder, layout: DialogueFormat) -> list[int]:
    """Token ids of a reply as it follows an encoded prompt, with its end of turn."""
    body = reply_opening(layout) + text
    return [*encoder.encode(body), encoder.token_id(layout.end_of_turn)]


def reply_opening(layout: DialogueFormat) -> str:
    """What the format writes before a reply's own text; a sampled reply begins with it too, and its text does not."""
    return " " if layout.format == "hh_text" else ""


@dataclass(frozen=True, kw_only=True)
class EncodedPrompt:
    """A prompt ready for generation and how much of the dialogue did not fit."""

    token_ids: list[int]
    dropped_messages: int
    is_cut: bool  # it lost messages, or the beginning of one


@dataclass(frozen=True, kw_only=True)
class EncodedReplies:
    """Replies to one prompt, each as a dialogue to score, and what did not fit."""

    prompt: EncodedPrompt  # what all of them begin with
    dialogues: list[list[int]]  # up to the end-of-context token
    is_cut: bool  # the prompt or a reply lost something


def encode_prompt(
    dialogue: Dialogue, *, encoder: TextEncoder, layout: DialogueFormat, room: int
) -> EncodedPrompt:
    """A dialogue ending on the user, ready for a reply, in at most `room` tokens.

    Over-long dialogues lose whole exchanges from the left; if the last user message alone is too
    long, its own beginning goes.
    """
    check_dialogue(dialogue)
    if dialogue[-1]["role"] != "user":
        raise DialogueError("a prompt for generation ends on a user message")
    if layout.format == "chat_template":
        return _encode_with_template(dialogue, encoder=encoder, room=room)
    near, far = _without_what_cannot_fit(dialogue, room=room)
    turns = [encode_turn(message, encoder=encoder, layout=layout) for message in near]
    cue = _reply_cue(encoder=encoder, layout=layout)
    role = len(encoder.encode(layout.human)) if layout.format == "hh_text" else 1
    kept, dropped = truncate_left(turns, room=room - len(cue), role_tokens=role)
    return EncodedPrompt(
        token_ids=[*kept, *cue],
        dropped_messages=far + dropped,
        is_cut=far > 0 or len(kept) < sum(map(len, turns)),
    )


def encode_scored(
    dialogue: Dialogue, *, encoder: TextEncoder, layout: DialogueFormat
) -> EncodedPrompt:
    """A dialogue ending on a reply, plus the end-of-context token where a score is read."""
    check_dialogue(dialogue)
    if dialogue[-1]["role"] != "assistant":
        raise DialogueError("a dialogue to score ends on an assistant message")
    found = encode_replies(dialogue[:-1], [dialogue[-1]["content"]], encoder=encoder, layout=layout)
    return EncodedPrompt(
        token_ids=found.dialogues[0],
        dropped_messages=found.prompt.dropped_messages,
        is_cut=found.is_cut,
    )


def encode_replies(
    prompt: Dialogue, replies: Sequence[str], *, encoder: TextEncoder, layout: DialogueFormat
) -> EncodedReplies:
    """Each reply behind the one prompt they share, plus the end-of-context token where a score is read.

    Nothing is cut while all fit. Else a reply keeps its end: half of the context, or what the whole prompt
    leaves where that is more. Then the prompt is cut as in `encode_prompt`, alike for all of them.
    """
    room = layout.context_tokens - 1  # for the end-of-context token
    whole = encode_prompt(prompt, encoder=encoder, layout=layout, room=room)
    left = 0 if whole.is_cut else room - len(whole.token_ids)
    most = max(layout.context_tokens // 2, left)
    encoded = [
        encode_response(_end(text, room=most), encoder=encoder, layout=layout) for text in replies
    ]
    longest = min(most, max(map(len, encoded)))
    fitted = whole
    if longest > left:
        fitted = encode_prompt(prompt, encoder=encoder, layout=layout, room=room - longest)
    end = encoder.token_id(layout.end_of_context)
    return EncodedReplies(
        prompt=fitted,
        dialogues=[[*fitted.token_ids, *reply[-most:], end] for reply in encoded],
        is_cut=fitted.is_cut or any(len(reply) > most for reply in encoded),
    )


def _without_what_cannot_fit(dialogue: Dialogue, *, room: int) -> tuple[Dialogue, int]:
    """All messages but the oldest that cannot fit, and how many these are; of the last its end.

    Encoding costs time by the character, and most of what does not fit can be told by its length alone.
    """
    first = len(dialogue) - 1
    fewest = _fewest_tokens(dialogue[-1])
    while first >= 2:
        fewest += _fewest_tokens(dialogue[first - 2]) + _fewest_tokens(dialogue[first - 1])
        if fewest > room:
            break
        first -= 2
    last = {**dialogue[-1], "content": _end(dialogue[-1]["content"], room=room)}
    return [*dialogue[first:-1], last], first


def _fewest_tokens(message: Message) -> int:
    """A lower bound: its role and its text."""
    return 1 + len(message["content"]) // CHARACTERS_OF_A_TOKEN


def _end(text: str, *, room: int) -> str:
    """The end of a text, more of it than fits."""
    return text[-CHARACTERS_OF_A_TOKEN * (room + 1) :]


def truncate_left(turns: list[list[int]], *, room: int, role_tokens: int) -> tuple[list[int], int]:
    """Join turns, dropping whole exchanges (two turns) from the left until they fit `room`.

    Returns the ids and the number of turns dropped. The last turn always stays; of it, the
    tokens of the role and the end of the text are kept when it alone is too long.
    """
    if room <= role_tokens:
        raise DialogueError(
            f"{room} tokens are left for the prompt beside its role tokens: allow more (context_tokens in "
            "dialogue.json, a run's max_tokens or max_prompt_tokens)"
        )
    first = 0
    total = sum(len(turn) for turn in turns)
    while total > room and first < len(turns) - 1:
        total -= len(turns[first]) + len(turns[first + 1])
        first += 2
    kept = [token for turn in turns[first:] for token in turn]
    if len(kept) > room:
        kept = [*kept[:role_tokens], *kept[len(kept) - room + role_tokens :]]
    return kept, first


def _reply_cue(*, encoder: TextEncoder, layout: DialogueFormat) -> list[int]:
    if layout.format == "hh_text":
        return encoder.encode(layout.assistant)
    return [encoder.token_id(layout.assistant)]


def _encode_with_template(dialogue: Dialogue, *, encoder: TextEncoder, room: int) -> EncodedPrompt:
    template = getattr(encoder, "apply_chat_template", None)
    if template is None:
        raise DialogueError(
            'the checkpoint\'s tokenizer has no chat template: set "format": "hh_text" instead'
        )
    near, far = _without_what_cannot_fit(dialogue, room=room)

    def render(exchange: int) -> list[int]:
        ids: list[int] = template(near[2 * exchange :], for_reply=True)
        return ids

    first = bisect_left(range(len(near) // 2), -room, key=lambda each: -len(render(each)))
    ids, dropped = render(first), far + 2 * first
    return EncodedPrompt(
        token_ids=ids[-room:], dropped_messages=dropped, is_cut=dropped > 0 or len(ids) > room
    )
