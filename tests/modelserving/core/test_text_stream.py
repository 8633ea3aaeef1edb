"""Text handed out as it becomes certain."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelserving.core.text_stream import TextStream


def decode_bytes(ids: Sequence[int]) -> str:
    """One token per byte, as a byte-level tokenizer decodes."""
    return bytes(ids).decode("utf-8", "replace")


def stream_of(data: bytes, *, stop: tuple[str, ...] = ()) -> tuple[list[str], TextStream]:
    stream = TextStream(decode=decode_bytes, stop=stop)
    found = []
    for byte in data:
        found.append(stream.push(byte))
        if stream.stopped:
            return found, stream
    return [*found, stream.close()], stream


def test_a_character_is_shown_when_its_last_byte_came() -> None:
    found, _ = stream_of("é🙂!".encode())

    assert found == ["", "é", "", "", "", "🙂", "!", ""]


def test_bytes_that_never_become_text_read_as_replacement_at_the_end() -> None:
    found, _ = stream_of(b"ok\xf0\x9f")

    assert "".join(found) == "ok\ufffd"


def test_a_stop_string_ends_the_text_before_it_even_across_tokens() -> None:
    found, stream = stream_of(b"one two\n\nHuman: three", stop=("\n\nHuman:", "zzz"))

    assert "".join(found) == "one two"
    assert stream.stopped


def test_what_only_began_like_a_stop_string_is_given_back() -> None:
    found, stream = stream_of(b"a\n\nHum", stop=("\n\nHuman:",))

    assert found[:-1] == ["a"] + [""] * 5
    assert found[-1] == "\n\nHum"
    assert not stream.stopped


def decode_words(ids: Sequence[int]) -> str:
    """One token per character, without the first space of a text: as SentencePiece decodes."""
    return bytes(ids).decode("ascii").removeprefix(" ")


def test_a_continuation_keeps_the_space_it_begins_with() -> None:
    alone, continued = (
        TextStream(decode=decode_words, before=before) for before in (b"", b"France is")
    )

    for stream, expected in ((alone, "Paris"), (continued, " Paris")):
        assert "".join(map(stream.push, b" Paris")) + stream.close() == expected


@pytest.mark.parametrize(
    ("data", "shown"),
    [(b" Hello you", "Hello you"), (b"  Hello", " Hello"), (b"Hello", "Hello"), (b" ", "")],
)
def test_the_opening_is_left_out_once_and_only_at_the_beginning(data: bytes, shown: str) -> None:
    for stop in ((), (" never said",)):
        stream = TextStream(decode=decode_bytes, stop=stop, opening=" ")

        assert "".join(map(stream.push, data)) + stream.close() == shown


def test_a_continuation_of_half_a_character_is_read_alone() -> None:
    stream = TextStream(decode=decode_bytes, before=b"caf\xc3")

    assert "".join(map(stream.push, b"\xa9 au lait")) + stream.close() == "\ufffd au lait"


@given(st.binary(max_size=40))
def test_pieces_joined_are_the_whole_text_whatever_the_bytes(data: bytes) -> None:
    found, _ = stream_of(data)

    assert "".join(found) == decode_bytes(data)


@given(st.text(alphabet="ab\n", max_size=30), st.text(alphabet="ab\n", min_size=1, max_size=4))
def test_the_text_never_goes_past_a_stop_string(text: str, stop: str) -> None:
    found, stream = stream_of(text.encode(), stop=(stop,))

    assert "".join(found) == text.partition(stop)[0]
    assert stream.stopped == (stop in text)
