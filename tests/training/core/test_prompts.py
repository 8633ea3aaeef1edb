"""Prompt files: what is read, and what a line that is not a prompt is refused with."""

import gzip
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from modelserving.core.dialogue import DialogueFormat
from tests.tiny_checkpoints import tiny_tokenizer
from training.config import ConfigError
from training.core.prompts import WRITTEN_TOKENS, _example_tokens, file_prompts

ENCODING: dict[str, Any] = {
    "encoder": tiny_tokenizer(), "layout": DialogueFormat(context_tokens=64), "room": 40,
}  # fmt: skip
ASKED = '{"messages": [{"role": "user", "content": "Hi"}], "objective": "harmless"}'


def test_prompts_are_read_from_every_file_of_a_folder(tmp_path: Path):
    (tmp_path / "a.jsonl").write_text('{"prompt": "Hello"}\n\n')
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(ASKED.encode()))

    found = file_prompts(tmp_path, **ENCODING)

    assert [(each.opening, each.objective) for each in found] == [
        ("Hello", "helpful"),
        ("Hi", "harmless"),
    ]


def test_a_prompt_that_lost_its_beginning_says_so(tmp_path: Path):
    path = tmp_path / "prompts.jsonl"
    path.write_text('{"prompt": "Hello"}\n' + json.dumps({"prompt": "Hello " * 60}) + "\n")

    found = file_prompts(path, **ENCODING)

    assert [each.is_cut for each in found] == [False, True]


@pytest.mark.parametrize(("positions", "longest"), [(None, 48), (2048, 48), (256, 18)])
def test_examples_are_as_long_as_the_models_positions_allow(positions: int | None, longest: int):
    model = SimpleNamespace(positions=positions)

    assert _example_tokens(model) == longest
    assert positions is None or 10 * (longest + 1) + 1 + WRITTEN_TOKENS <= positions


def test_a_model_without_room_for_examples_is_refused():
    with pytest.raises(ConfigError, match="needs 155 positions, the model has 128: set it to 0"):
        _example_tokens(SimpleNamespace(positions=128))


def test_a_dialogue_that_was_cut_still_knows_how_it_began(tmp_path: Path):
    said = [("user", "Good morning"), ("assistant", "Hello " * 60), ("user", "And now?")]
    messages = [{"role": role, "content": text} for role, text in said]
    path = tmp_path / "prompts.jsonl"
    path.write_text(json.dumps({"messages": messages}) + "\n")

    (found,) = file_prompts(path, **ENCODING)

    assert found.is_cut
    assert found.messages[0]["content"] == "And now?"
    assert found.opening == "Good morning"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", "Expecting property name"),
        ('{"text": "Hello"}', "no text content"),
        ('{"prompt": 5}', "no text content"),
        ('{"messages": ["Hi"]}', "message 0 is not an object"),
        ('{"prompt": "Hi", "objective": 5}', "objective 5 is not text"),
        ("5", "no attribute"),
        (ASKED.replace("user", "assistant"), "begin with the user"),
    ],
)
def test_a_line_that_is_no_prompt_is_named(tmp_path: Path, line: str, says: str):
    path = tmp_path / "prompts.jsonl"
    path.write_text(f"{ASKED}\n{line}\n")

    with pytest.raises(
        ConfigError, match=f"prompts.jsonl line 2 is not a prompt.*{says}.*`prompt` text"
    ):
        file_prompts(path, **ENCODING)


def test_a_file_without_a_prompt_is_refused(tmp_path: Path):
    path = tmp_path / "prompts.jsonl"
    path.write_text("\n")

    with pytest.raises(ConfigError, match=r"prompts\.jsonl holds no prompt"):
        file_prompts(path, **ENCODING)
