"""Prompts for rollouts: from a release and from prompt files, mixed by objective, the same for the same seed.

It does not know policies or scores.
"""

import gzip
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelserving.core.dialogue import DialogueFormat, TextEncoder, check_dialogue, encode_prompt
from training.config import ConfigError
from training.core.data import Split, read_release
from training.core.preference_sets import stable_order


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """A dialogue ending on the user, ready for a response."""

    messages: tuple[Mapping[str, str], ...]
    objective: str
    token_ids: tuple[int, ...]

    @property
    def first_message(self) -> str:
        """The opening: what train and test prompts must not share."""
        return self.messages[0]["content"]


def release_prompts(
    release: Path, split: Split, *, encoder: TextEncoder, layout: DialogueFormat, room: int
) -> list[Prompt]:
    """The distinct prompts of one split of a release (responses stripped), in file order."""
    found: dict[str, Prompt] = {}
    for row in read_release(release, split):
        key = json.dumps(row.messages, sort_keys=True)
        if key not in found:
            found[key] = _encoded(
                row.messages,
                objective=row.objective,
                encoder=encoder,
                layout=layout,
                room=room,
            )
    return list(found.values())


def file_prompts(
    path: Path, *, encoder: TextEncoder, layout: DialogueFormat, room: int
) -> list[Prompt]:
    """Prompts of a JSONL file (also gzipped, or a folder of such): `prompt` text or `messages` per line."""
    prompts = []
    for row in _file_rows(path):
        messages = row.get("messages") or [{"role": "user", "content": row["prompt"]}]
        check_dialogue(messages)
        objective = row.get("objective", "helpful")
        prompts.append(
            _encoded(messages, objective=objective, encoder=encoder, layout=layout, room=room)
        )
    return prompts


def _file_rows(path: Path) -> Iterator[Mapping[str, Any]]:
    files = sorted(path.glob("*.jsonl*")) if path.is_dir() else [path]
    for file in files:
        opener = gzip.open if file.suffix == ".gz" else open
        with opener(file, "rt", encoding="utf-8") as lines:
            for line in lines:
                yield json.loads(line)


def _encoded(
    messages: Sequence[Mapping[str, str]],
    *,
    objective: str,
    encoder: TextEncoder,
    layout: DialogueFormat,
    room: int,
) -> Prompt:
    encoded = encode_prompt(messages, encoder=encoder, layout=layout, room=room)
    kept = messages[encoded.dropped_messages :]
    return Prompt(messages=tuple(kept), objective=objective, token_ids=tuple(encoded.token_ids))


def held_out_prompts(
    prompts: Sequence[Prompt], *, count: int, training: Sequence[Prompt]
) -> list[Prompt]:
    """The first `count` prompts in an order fixed by hash whose opening no training prompt has."""
    openings = {prompt.first_message.strip() for prompt in training}
    fresh = [prompt for prompt in prompts if prompt.first_message.strip() not in openings]
    if not fresh:
        raise ConfigError(
            "the release's test split has no prompt that training does not have: cut a larger release"
        )
    fresh.sort(key=lambda prompt: stable_order(json.dumps(prompt.messages, sort_keys=True)))
    return fresh[:count]


class PromptMixture:
    """Draws batches of prompts; a batch depends on the seed and the step alone."""

    def __init__(
        self, prompts: Sequence[Prompt], *, weights: Mapping[str, float], seed: int
    ) -> None:
        self._seed = seed
        by_objective: dict[str, list[Prompt]] = {}
        for prompt in prompts:
            by_objective.setdefault(prompt.objective, []).append(prompt)
        self._pools = {name: by_objective[name] for name in sorted(by_objective)}
        self._weights = [
            weights.get(name, 1.0 if weights else float(len(pool)))
            for name, pool in self._pools.items()
        ]
        if not prompts or sum(self._weights) <= 0:
            raise ConfigError(
                "no prompt has a weight above 0: widen objective_weights or cut a larger release"
            )

    def batch(self, *, step: int, count: int) -> list[Prompt]:
        """`count` prompts, objectives by weight; none twice while its pool lasts."""
        rng = random.Random(f"prompts:{self._seed}:{step}")
        wanted = rng.choices(list(self._pools), weights=self._weights, k=count)
        batch: list[Prompt] = []
        for name, pool in self._pools.items():
            needed = wanted.count(name)
            while needed > 0:
                drawn = rng.sample(pool, min(needed, len(pool)))
                batch += drawn
                needed -= len(drawn)
        rng.shuffle(batch)
        return batch
