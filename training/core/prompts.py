"""Prompts for rollouts: from a release and from prompt files, mixed by objective, the same for the same seed.

It does not know policies or scores.
"""

import json
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelserving.core.dialogue import DialogueFormat, TextEncoder, encode_prompt
from modelserving.lm.loading import LoadedModel
from modelserving.lm.rollouts import sample
from training.config import ConfigError
from training.core.data import Split, read_release
from training.core.lines import numbered_lines
from training.core.preference_sets import stable_order

EXAMPLES_SHOWN = 10
EXAMPLE_TOKENS = 48  # of each example
FEWEST_EXAMPLE_TOKENS = 8
WRITTEN_TOKENS = 64
FEWEST_PROMPT_TOKENS = 16  # role tokens, and the end of a message


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """A dialogue ending on the user, ready for a response."""

    messages: tuple[Mapping[str, str], ...]
    objective: str
    token_ids: tuple[int, ...]
    opening: str  # the dialogue's first message, also where it was cut: train and test prompts must not share it
    is_cut: bool = False  # it lost messages, or the beginning of one, to fit


def cut_prompts(prompts: Iterable[Prompt]) -> int:
    """How many lost something to fit."""
    return sum(prompt.is_cut for prompt in prompts)


def require_positions(*models: LoadedModel, prompt: int, response: int) -> None:
    """Refuse prompts too short to say anything, and those that with a response a model has no positions for."""
    if prompt < FEWEST_PROMPT_TOKENS:
        raise ConfigError(
            f"max_prompt_tokens is {prompt}: set it to {FEWEST_PROMPT_TOKENS} or more"
        )
    limits = [each.positions or prompt + response for each in models]
    if prompt + response > min(limits):
        raise ConfigError(
            f"{prompt} tokens of a prompt and {response} of a response are beyond the {min(limits)} positions "
            "of the models: lower max_prompt_tokens or max_response_tokens"
        )


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
    for where, line in _file_lines(path):
        try:
            messages, objective = _file_prompt(line)
            prompts.append(
                _encoded(messages, objective=objective, encoder=encoder, layout=layout, room=room)
            )
        except (ValueError, TypeError, AttributeError) as odd:
            raise ConfigError(
                f"{where} is not a prompt ({odd}): give it a `prompt` text, or `messages` that end on the user"
            ) from None
    if not prompts:
        raise ConfigError(f"{path} holds no prompt: fill it, or leave this input out")
    return prompts


def _file_prompt(line: str) -> tuple[list[Mapping[str, str]], str]:
    row = json.loads(line)
    messages = row.get("messages") or [{"role": "user", "content": row.get("prompt")}]
    objective = row.get("objective", "helpful")
    if not isinstance(objective, str):
        raise TypeError(f"objective {objective!r} is not text")
    return messages, objective


def _file_lines(path: Path) -> Iterator[tuple[str, str]]:
    """Where each line stands, and the line; empty ones are passed over."""
    files = sorted(path.glob("*.jsonl*")) if path.is_dir() else [path]
    for file in files:
        for where, line in numbered_lines(file, cure="copy it again"):
            if line.strip():
                yield where, line


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
    return Prompt(
        messages=tuple(kept),
        objective=objective,
        token_ids=tuple(encoded.token_ids),
        opening=messages[0]["content"],
        is_cut=encoded.is_cut,
    )


def held_out_prompts(
    prompts: Sequence[Prompt], *, count: int, training: Sequence[Prompt]
) -> list[Prompt]:
    """The first `count` prompts in an order fixed by hash whose opening no training prompt has."""
    openings = {prompt.opening.strip() for prompt in training}
    fresh = [prompt for prompt in prompts if prompt.opening.strip() not in openings]
    if not fresh:
        raise ConfigError(
            "the release's test split has no prompt that training does not have: cut a larger release"
        )
    return sample_of(fresh, count=count)


def sample_of(prompts: Sequence[Prompt], *, count: int) -> list[Prompt]:
    """The first `count` in an order fixed by hash: a file's own begins with what was imported first."""

    def place(prompt: Prompt) -> str:
        return stable_order(json.dumps(prompt.messages, sort_keys=True))

    return sorted(prompts, key=place)[:count]


def written_prompts(
    model: LoadedModel, examples: Sequence[Prompt], *, count: int, room: int, seed: int
) -> list[Prompt]:
    """First messages that the model itself writes after ten good ones (Bai et al. 2022, §4.1); "tokens" format.

    Empty texts and copies of an example are left out, so fewer than `count` may come.
    """
    layout, tokenizer = model.dialogue_format, model.tokenizer
    if layout.format != "tokens":
        raise ConfigError("few_shot_prompts needs a checkpoint of the tokens format: set it to 0")
    human, reply = (tokenizer.token_id(token) for token in (layout.human, layout.assistant))
    end = tokenizer.token_id(layout.end_of_turn)
    alone = [each for each in examples if len(each.messages) == 1 and not each.is_cut]
    openings = sorted({each.opening for each in alone})
    if len(openings) < EXAMPLES_SHOWN:
        raise ConfigError(
            f"few_shot_prompts needs {EXAMPLES_SHOWN} prompts of one message, the release has "
            f"{len(openings)}: set it to 0 or cut a larger release"
        )
    most = _example_tokens(model)
    rng = random.Random(f"few-shot:{seed}")
    cut = {text: tokenizer.encode(text)[:most] for text in openings}
    shown = [rng.sample(openings, EXAMPLES_SHOWN) for _ in range(count)]
    contexts = [[t for text in texts for t in (human, *cut[text])] + [human] for texts in shown]
    sampled = sample(
        model.model,
        contexts,
        samples_per_prompt=1,
        max_new_tokens=WRITTEN_TOKENS,
        temperature=1.0,
        seeds=[[seed * 1_000_003 + index] for index in range(count)],
        stop_ids={human, reply, end},
    )
    texts = [tokenizer.decode(each[0].token_ids).strip() for each in sampled]
    fresh = [text for text in dict.fromkeys(texts) if text and text not in openings]
    encoding: dict[str, Any] = {"encoder": tokenizer, "layout": layout, "room": room}
    return [
        _encoded([{"role": "user", "content": text}], objective="helpful", **encoding)
        for text in fresh
    ]


def _example_tokens(model: LoadedModel) -> int:
    """Tokens of each example, so that all, their role tokens and what is written fit the model's positions."""
    if model.positions is None:
        return EXAMPLE_TOKENS
    fit = (model.positions - WRITTEN_TOKENS - 1) // EXAMPLES_SHOWN - 1
    if fit < FEWEST_EXAMPLE_TOKENS:
        needed = EXAMPLES_SHOWN * (FEWEST_EXAMPLE_TOKENS + 1) + WRITTEN_TOKENS + 1
        raise ConfigError(
            f"few_shot_prompts needs {needed} positions, the model has {model.positions}: set it to 0"
        )
    return min(EXAMPLE_TOKENS, fit)


class PromptMixture:
    """Draws batches of prompts; a batch depends on the seed and the step alone."""

    def __init__(
        self,
        prompts: Sequence[Prompt],
        *,
        weights: Mapping[str, float],
        seed: int,
        written: Sequence[Prompt] = (),
        written_share: float = 0.0,
    ) -> None:
        """`written_share` of each batch comes from `written`, where there are any."""
        self._seed = seed
        self._written = list(written)
        self._written_share = written_share if written else 0.0
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
        from_written = round(count * self._written_share)
        wanted = rng.choices(list(self._pools), weights=self._weights, k=count - from_written)
        batch = _drawn(self._written, count=from_written, rng=rng)
        for name, pool in self._pools.items():
            batch += _drawn(pool, count=wanted.count(name), rng=rng)
        rng.shuffle(batch)
        return batch


def _drawn(pool: Sequence[Prompt], *, count: int, rng: random.Random) -> list[Prompt]:
    """`count` prompts, none twice while the pool lasts."""
    drawn: list[Prompt] = []
    while len(drawn) < count:
        drawn += rng.sample(pool, min(count - len(drawn), len(pool)))
    return drawn
