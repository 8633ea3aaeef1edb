"""A tiny dataset release in the format of the real ones; knows no models."""

import gzip
import json
from pathlib import Path
from typing import Any

from modelserving.core.artifacts import utc_now, write_manifest

WORDS = ("dog", "cat", "story", "Hello", "thank you", "brown", "small", "today")


def row(index: int, **changes: Any) -> dict[str, Any]:
    """One comparison: the short friendly reply was picked."""
    word = WORDS[index % len(WORDS)]
    return {
        "comparison": f"comparison-{index}",
        "conversation": f"conversation-{index}",
        "turn": 1,
        "messages": [{"role": "user", "content": f"Tell me about a {word} {index}"}],
        "picked": f"I am well, {word}",
        "other": f"How would you {word} today?",
        "question": "more_helpful",
        "objective": "helpful" if index % 2 else "harmless",
        "strength": None,
        "tranche": "base",
        "origin": "crowd",
        "picked_checkpoint": None,
        "other_checkpoint": None,
        "finish_reasons": [],
        **changes,
    }


def conversation(index: int, *, turns: int) -> list[dict[str, Any]]:
    """Comparisons at every turn of one conversation, each continuing from the picked response."""
    messages: list[dict[str, str]] = []
    rows = []
    for turn in range(1, turns + 1):
        messages = [*messages, {"role": "user", "content": f"and a {WORDS[turn]} {index}?"}]
        same = f"conversation-{index}"
        one = row(index * 10 + turn, conversation=same, turn=turn, messages=list(messages))
        rows.append(one)
        messages = [*messages, {"role": "assistant", "content": one["picked"]}]
    return rows


def make_release(
    directory: Path, *, train: list[dict[str, Any]], test: list[dict[str, Any]]
) -> Path:
    """Publish a release."""
    directory.mkdir(parents=True)
    for split, rows in (("train", train), ("test", test)):
        lines = "".join(json.dumps(each) + "\n" for each in rows)
        path = directory / f"{split}.jsonl.gz"
        path.write_bytes(gzip.compress(lines.encode("utf-8"), mtime=0))
    write_manifest(directory, kind="release", parents=[], config={}, code="", created=utc_now())
    return directory
