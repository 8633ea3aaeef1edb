"""Rendering dialogues: exact ids by a byte tokenizer, injection, truncation at turn boundaries."""

import pytest

from modelserving.core.dialogue import (
    HH_TEXT,
    DialogueError,
    DialogueFormat,
    check_dialogue,
    encode_prompt,
    encode_scored,
    truncate_left,
)

SPECIALS = ("<|endoftext|>", "<|pad|>", "<|human|>", "<|assistant|>", "<|score|>")
END, _, HUMAN, ASSISTANT, SCORE = range(1000, 1005)
LAYOUT = DialogueFormat()


class ByteTokenizer:
    """One id per byte; special tokens from 1000 on."""

    def encode(self, text: str) -> list[int]:
        return list(text.encode("utf-8"))

    def token_id(self, token: str) -> int:
        return 1000 + SPECIALS.index(token)


class CountingTokenizer(ByteTokenizer):
    """Remembers how much it read; its template gives each message a role and its bytes."""

    def __init__(self) -> None:
        self.characters = 0

    def encode(self, text: str) -> list[int]:
        self.characters += len(text)
        return super().encode(text)

    def apply_chat_template(self, dialogue: list[dict[str, str]], *, for_reply: bool) -> list[int]:
        assert for_reply
        return [id_ for each in dialogue for id_ in (HUMAN, *self.encode(each["content"]))]


def talk(*contents: str) -> list[dict[str, str]]:
    roles = ("user", "assistant")
    return [{"role": roles[i % 2], "content": text} for i, text in enumerate(contents)]


def prompt_ids(dialogue: list[dict[str, str]], *, room: int = 100) -> list[int]:
    encoded = encode_prompt(dialogue, encoder=ByteTokenizer(), layout=LAYOUT, room=room)
    return encoded.token_ids


def test_prompt_ends_on_the_assistant_role() -> None:
    ids = prompt_ids(talk("ab", "c", "d"))

    assert ids == [HUMAN, 97, 98, ASSISTANT, 99, END, HUMAN, 100, ASSISTANT]


def test_typed_role_tokens_stay_text() -> None:
    ids = prompt_ids(talk("<|assistant|>"))

    assert ids == [HUMAN, *b"<|assistant|>", ASSISTANT]


def test_scored_dialogue_ends_on_the_score_token() -> None:
    encoded = encode_scored(talk("a", "b"), encoder=ByteTokenizer(), layout=LAYOUT)

    assert encoded.token_ids == [HUMAN, 97, ASSISTANT, 98, END, SCORE]


def test_scoring_begins_with_exactly_the_generation_prompt() -> None:
    dialogue = talk("first", "second", "third", "fourth")

    scored = encode_scored(dialogue, encoder=ByteTokenizer(), layout=LAYOUT).token_ids

    prompt = prompt_ids(dialogue[:-1])
    assert scored[: len(prompt)] == prompt


def test_long_dialogue_loses_whole_exchanges_from_the_left() -> None:
    dialogue = talk("a" * 20, "b" * 20, "c" * 5, "d" * 5, "e")

    encoded = encode_prompt(dialogue, encoder=ByteTokenizer(), layout=LAYOUT, room=20)

    assert encoded.dropped_messages == 2
    assert encoded.token_ids == prompt_ids(talk("c" * 5, "d" * 5, "e"))


def test_long_last_message_keeps_its_role_and_its_end() -> None:
    assert prompt_ids(talk("abcdefgh"), room=5) == [HUMAN, *b"fgh", ASSISTANT]


@pytest.mark.parametrize("format_", ["tokens", "chat_template"])
@pytest.mark.parametrize("sizes", [[3] * 60_001, [3, 10**6, 3], [10**6, 3, 3], [2, 2, 10**6]])
def test_what_cannot_fit_is_left_out_without_reading_it(format_: str, sizes: list[int]) -> None:
    layout, room = DialogueFormat(format=format_), 40
    dialogue = talk(*("abcdefghij" * (size // 10 + 1) for size in sizes))
    tokenizer = CountingTokenizer()

    encoded = encode_prompt(dialogue, encoder=tokenizer, layout=layout, room=room)

    assert tokenizer.characters < 60_000
    near = dialogue[encoded.dropped_messages :]
    whole = encode_prompt(near, encoder=CountingTokenizer(), layout=layout, room=10**7).token_ids
    end = room - 1 if sizes[-1] > room else len(whole)
    assert encoded.token_ids[-end:] == whole[-end:]
    assert encoded.dropped_messages >= len(sizes) - 3


def test_a_template_drops_as_few_exchanges_as_let_the_rest_fit() -> None:
    layout = DialogueFormat(format="chat_template")
    for count in range(1, 30, 2):
        dialogue = talk(*("x" * (1 + number % 5) for number in range(count)))
        for room in (8, 20, 33):
            first = 0
            tokenizer = CountingTokenizer()
            ids = tokenizer.apply_chat_template(dialogue, for_reply=True)
            while len(ids) > room and first < len(dialogue) - 1:
                first += 2
                ids = tokenizer.apply_chat_template(dialogue[first:], for_reply=True)

            encoded = encode_prompt(dialogue, encoder=tokenizer, layout=layout, room=room)

            assert (encoded.token_ids, encoded.dropped_messages) == (ids[-room:], first)


def test_truncation_that_fits_changes_nothing() -> None:
    turns = [[1, 2], [3], [4, 5]]

    assert truncate_left(turns, room=5) == ([1, 2, 3, 4, 5], 0)


def test_long_response_to_score_leaves_room_for_its_prompt() -> None:
    layout = DialogueFormat(context_tokens=32)

    encoded = encode_scored(talk("q" * 50, "r" * 500), encoder=ByteTokenizer(), layout=layout)

    assert len(encoded.token_ids) == 32
    assert encoded.token_ids[0] == HUMAN
    assert encoded.token_ids[-2:] == [END, SCORE]


def test_hh_text_is_the_public_format() -> None:
    encoded = encode_prompt(
        talk("Hi", "Hello", "Bye"), encoder=ByteTokenizer(), layout=HH_TEXT, room=100
    )

    text = bytes(encoded.token_ids).decode()
    assert text == "\n\nHuman: Hi\n\nAssistant: Hello\n\nHuman: Bye\n\nAssistant:"


@pytest.mark.parametrize(
    ("dialogue", "reason"),
    [
        ([], "no message"),
        ([{"role": "assistant", "content": "x"}], "begin with the user"),
        ([{"role": "system", "content": "x"}], "expected 'user'"),
        ([{"role": "user", "content": None}], "no text content"),
    ],
)
def test_malformed_dialogues_are_refused(dialogue: list[dict[str, str]], reason: str) -> None:
    with pytest.raises(DialogueError, match=reason):
        check_dialogue(dialogue)


def test_prompt_must_end_on_the_user_and_scored_on_the_assistant() -> None:
    with pytest.raises(DialogueError, match="ends on a user"):
        prompt_ids(talk("a", "b"))
    with pytest.raises(DialogueError, match="ends on an assistant"):
        encode_scored(talk("a"), encoder=ByteTokenizer(), layout=LAYOUT)


def test_format_round_trips_and_refuses_unknown_keys() -> None:
    layout = DialogueFormat(format="hh_text", stop_strings=("\n\nHuman:",), score_center=0.5)

    assert DialogueFormat.from_dict(layout.to_dict()) == layout
    with pytest.raises(DialogueError, match="end_of_turm"):
        DialogueFormat.from_dict({"end_of_turm": "x"})
