"""Rendering dialogues: exact ids by a byte tokenizer, injection, truncation at turn boundaries."""

import pytest

from modelserving.core.dialogue import (
    HH_TEXT,
    DialogueError,
    DialogueFormat,
    check_dialogue,
    encode_prompt,
    encode_replies,
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

    assert truncate_left(turns, room=5, role_tokens=1) == ([1, 2, 3, 4, 5], 0)


@pytest.mark.parametrize("role_tokens", [1, 2])
def test_a_last_turn_that_is_too_long_keeps_its_whole_role_and_its_end(role_tokens: int) -> None:
    turns = [[1, 2, 3], [4], [5, 6, 7, 8, 9, 10]]

    kept, dropped = truncate_left(turns, room=4, role_tokens=role_tokens)

    assert kept == ([5, 8, 9, 10] if role_tokens == 1 else [5, 6, 9, 10])
    assert dropped == 2
    with pytest.raises(DialogueError, match="allow more"):
        truncate_left(turns, room=role_tokens, role_tokens=role_tokens)


def test_a_long_message_in_hh_text_keeps_the_whole_word_of_its_role() -> None:
    layout = DialogueFormat(
        format="hh_text", human="\n\nHuman:", assistant="\n\nAssistant:", context_tokens=64
    )

    encoded = encode_prompt(talk("x" * 90), encoder=CountingTokenizer(), layout=layout, room=40)

    text = bytes(encoded.token_ids).decode()
    assert text.startswith("\n\nHuman:x")
    assert text.endswith("x\n\nAssistant:")
    assert len(encoded.token_ids) == 40


@pytest.mark.parametrize("format_", ["tokens", "chat_template"])
def test_a_dialogue_that_fits_is_scored_whole(format_: str) -> None:
    layout, tokenizer = DialogueFormat(format=format_, context_tokens=32), CountingTokenizer()
    dialogue = talk("first", "r" * 22)

    encoded = encode_scored(dialogue, encoder=tokenizer, layout=layout)

    assert encoded.token_ids[-24:] == [*b"r" * 22, END, SCORE]
    assert (encoded.dropped_messages, encoded.is_cut) == (0, False)


def cut_by_hand(asked: list[int], replies: list[int], *, context: int) -> tuple[int, list[int]]:
    """How many messages of these bytes are dropped, and how many bytes of each reply stay."""
    sizes = [each + 1 + (place % 2) for place, each in enumerate(asked)]  # role, text, end of turn
    room = context - 1  # the end of the context
    whole = sum(sizes) + 1  # and the role of the reply
    most = max(context // 2, room - whole)
    kept = [min(each + 1, most) for each in replies]
    first = 0
    while sum(sizes[first:]) + 1 > room - max(kept) and first < len(sizes) - 1:
        first += 2
    return first, kept


@pytest.mark.parametrize("asked", [[3], [9], [14], [15], [40], [4, 5, 6], [2, 30, 3], [20, 2, 20]])
def test_what_a_reply_may_keep_and_the_prompt_loses_by_hand(asked: list[int]) -> None:
    layout = DialogueFormat(context_tokens=32)
    prompt = talk(*("q" * size for size in asked))
    for replies in ([1, 2], [5, 14], [15, 15], [16, 3], [22, 2], [25, 26], [90, 1]):
        first, kept = cut_by_hand(asked, replies, context=32)

        found = encode_replies(
            prompt, ["r" * size for size in replies], encoder=ByteTokenizer(), layout=layout
        )

        start = found.prompt.token_ids
        assert found.prompt.dropped_messages == first
        assert [len(each) - len(start) - 1 for each in found.dialogues] == kept
        assert max(map(len, found.dialogues)) <= 32
        assert all(each[: len(start)] == start and each[-1] == SCORE for each in found.dialogues)
        bytes_and_roles = sum(asked) + len(asked) + len(asked) // 2 + 1
        assert found.is_cut == (bytes_and_roles + max(replies) + 2 > 32)


def test_what_is_lost_of_a_prompt_is_told() -> None:
    def is_cut(dialogue: list[dict[str, str]], room: int) -> bool:
        return encode_prompt(dialogue, encoder=ByteTokenizer(), layout=LAYOUT, room=room).is_cut

    assert not is_cut(talk("abcd"), 6)
    assert is_cut(talk("abcd"), 5)  # the beginning of its only message
    assert is_cut(talk("a", "b", "abcd"), 6)  # an exchange


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
        (5, "no message"),
        (["Hi"], "message 0 is not an object"),
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
