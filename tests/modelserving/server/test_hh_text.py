"""Chats with a checkpoint that reads dialogues as plain text with role words."""

from dataclasses import replace
from pathlib import Path

from modelserving.core.artifacts import write_manifest
from modelserving.core.dialogue import HH_TEXT
from modelserving.lm.loading import load_tokenizer
from modelserving.lm.tokenizer import TextTokenizer, write_tokenizer
from tests.modelserving.server.in_process import serving_here
from tests.tiny_checkpoints import make_tiny_language_model


def make_hh(directory: Path) -> TextTokenizer:
    """A tiny checkpoint that speaks HH text; returns its tokenizer."""
    make_tiny_language_model(directory)
    tokenizer = load_tokenizer(directory)
    write_tokenizer(tokenizer, directory=directory, layout=replace(HH_TEXT, context_tokens=128))
    (directory / "manifest.json").unlink()
    write_manifest(
        directory, kind="language_model", parents=[], config={}, code="",
        created="2026-01-01T00:00:00+00:00",
    )  # fmt: skip
    return tokenizer


def test_the_space_before_a_reply_is_no_part_of_it(tmp_path: Path) -> None:
    tokenizer = make_hh(tmp_path / "hh")
    end = tokenizer.token_id(HH_TEXT.end_of_turn)
    asked = {"model": "hh", "max_tokens": 4, "n": 64, "seed": 3, "temperature": 2.0}
    asked |= {"return_token_ids": True, "messages": [{"role": "user", "content": "Hello there"}]}

    with serving_here(tmp_path) as served:
        served.post("/v1/checkpoints/load", {"path": str(tmp_path / "hh"), "name": "hh"})
        choices = served.post("/v1/chat/completions", asked).json()["choices"]

    drawn = [tokenizer.decode([id_ for id_ in each["token_ids"] if id_ != end]) for each in choices]
    texts = [each["message"]["content"] for each in choices]
    assert texts == [text.removeprefix(" ") for text in drawn]
    assert texts != drawn
