"""A tiny corpus and run directories for tests of the training engine; knows no real data."""

import gzip
import json
from pathlib import Path
from typing import Any

from modelserving.core.artifacts import utc_now, write_manifest
from modelserving.core.dialogue import DialogueFormat
from modelserving.lm.tokenizer import train_tokenizer, write_tokenizer
from training.core.new_run import write_run
from training.core.run_directory import reference

LAYOUT = DialogueFormat(context_tokens=64)
ANIMALS = ("dog", "cat", "cow", "hen", "fox", "owl", "bee", "ant")
SHAPE = {
    "layers": 1,
    "hidden_size": 16,
    "intermediate_size": 32,
    "attention_heads": 2,
    "key_value_heads": 2,
    "context_tokens": 64,
}


def dialogues(answers: tuple[int, ...] = (1,)) -> list[dict[str, Any]]:
    """Eight short dialogues; their answers say so many times in turn the same."""
    return [
        {
            "messages": [
                {"role": "user", "content": f"What is a {animal}?"},
                {
                    "role": "assistant",
                    "content": f"A {animal} is an animal." * answers[place % len(answers)],
                },
            ]
        }
        for place, animal in enumerate(ANIMALS)
    ]


def texts() -> list[dict[str, Any]]:
    """Some running text."""
    return [{"text": f"The {animal} went home and slept until the sun rose."} for animal in ANIMALS]


def write_documents(path: Path, documents: list[dict[str, Any]]) -> None:
    """Gzip JSONL."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps(document) + "\n" for document in documents)
    path.write_bytes(gzip.compress(lines.encode("utf-8"), mtime=0))


def make_corpus(directory: Path, *, answers: tuple[int, ...] = (1,)) -> Path:
    """A published corpus of two sources and its tokenizer."""
    for part in ("train", "valid"):
        write_documents(directory / part / "talk.jsonl.gz", dialogues(answers))
        write_documents(directory / part / "books.jsonl.gz", texts())
    words = [document["text"] for document in texts()]
    tokenizer = train_tokenizer(words, vocabulary_size=320, layout=LAYOUT)
    write_tokenizer(tokenizer, directory=directory / "tokenizer", layout=LAYOUT)
    write_manifest(directory, kind="corpus", parents=[], config={}, code="", created=utc_now())
    return directory


def language_model_config(**overrides: Any) -> dict[str, Any]:
    """A run of seconds."""
    return {
        "kind": "language_model",
        "device": "cpu",
        "threads": 1,
        "shape": SHAPE,
        "block_tokens": 32,
        "batch_blocks": 4,
        "steps": 8,
        "learning_rate": 0.01,
        "warmup_steps": 1,
        "evaluate_every": 4,
        "evaluation_blocks": 2,
        "checkpoint_every": 2,
        **overrides,
    }


def make_run(path: Path, *, config: dict[str, Any], inputs: dict[str, Path]) -> Path:
    """A run directory ready to run."""
    write_run(
        path, config=config, inputs={role: reference(where) for role, where in inputs.items()}
    )
    return path
