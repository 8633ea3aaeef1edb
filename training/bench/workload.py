"""The work that every contestant does: one model, one tokenizer, the same token ids, written to a folder once.

It does not know any trainer; children read it back with `load`.
"""

import gzip
import json
import random
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    PreTrainedModel,
)

from modelserving.core.dialogue import DialogueFormat, encode_prompt, encode_response
from modelserving.lm.tokenizer import PAD, TextTokenizer, write_tokenizer

STARTER = Path(__file__).resolve().parents[2] / "modelserving" / "starter"
LAYOUT = DialogueFormat(context_tokens=512)
GZIP = b"\x1f\x8b"  # how its files begin
PROMPT_TOKENS = 128  # of PPO's prompts


@dataclass(frozen=True, kw_only=True)
class Size:
    """A model built like Llama."""

    hidden: int
    layers: int
    intermediate: int
    heads: int
    key_heads: int


SIZES = {
    "6m": Size(hidden=256, layers=6, intermediate=688, heads=4, key_heads=4),
    "0.5b": Size(hidden=1280, layers=28, intermediate=3456, heads=10, key_heads=5),
    "1.1b": Size(hidden=2048, layers=24, intermediate=5632, heads=16, key_heads=8),
}


@dataclass(frozen=True, kw_only=True)
class Task:
    """What both sides do the same of."""

    device: str
    batch: int  # comparisons of an optimizer step
    rival_rows: int  # comparisons that TRL reads at once, and sums the gradients of
    ppo_batch: int  # prompts of a PPO step
    rival_ppo_rows: int  # that TRL's PPO reads at once; ours packs as many tokens as fit its rows
    response_tokens: int
    ppo_steps: int
    warm_up: int  # steps before the clock starts, in which kernels are compiled; also PPO's

    def __post_init__(self) -> None:
        """Refuse what the two sides would do differently."""
        for name, whole, part in (
            ("rival_rows", self.batch, self.rival_rows),
            ("rival_ppo_rows", self.ppo_batch, self.rival_ppo_rows),
        ):
            if part < 1 or whole % part:
                raise ValueError(f"{name} is {part}: {whole} must be a multiple of it")
        if self.ppo_steps < max(1, self.warm_up) + 1:
            raise ValueError(
                f"ppo_steps is {self.ppo_steps}: give {max(1, self.warm_up) + 1} or more"
            )

    @property
    def fewest(self) -> int:
        """Comparisons that the task needs: a step behind the warm-up, and a prompt for each of PPO's."""
        return max((self.warm_up + 1) * self.batch, self.ppo_batch * self.ppo_steps)


TASKS = {
    "cpu": Task(
        device="cpu", batch=8, rival_rows=8, ppo_batch=16, rival_ppo_rows=8, response_tokens=64, ppo_steps=4,
        warm_up=0,
    ),
    "cuda": Task(
        device="cuda", batch=128, rival_rows=32, ppo_batch=64, rival_ppo_rows=64, response_tokens=128, ppo_steps=5,
        warm_up=2,
    ),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Workload:
    """Pairs and prompts in tokens, and what is done with them."""

    pairs: list[tuple[list[int], list[int]]]  # chosen, rejected
    prompts: list[list[int]]
    task: Task


def write(
    folder: Path, *, comparisons: int, hh: Path | None, size: Size, task: Task, seed: int = 0
) -> Workload:
    """Make the models and tokens; without an HH file the texts are random words of like lengths.

    Raises ValueError for fewer comparisons than the task needs, and for a file with fewer than were asked for.
    """
    if comparisons < task.fewest:
        raise ValueError(f"{comparisons} comparisons: the task needs {task.fewest} or more")
    tokenizer = TextTokenizer.from_file(STARTER / "tokenizer.json")
    dialogues = list(islice(hh_dialogues(hh) if hh else _random_dialogues(seed), comparisons))
    if len(dialogues) < comparisons:
        raise ValueError(
            f"{hh} has {len(dialogues)} comparisons: give --comparisons as many or fewer"
        )
    workload = Workload(
        pairs=[_pair(dialogue, tokenizer=tokenizer) for dialogue in dialogues],
        prompts=[_prompt(dialogue["messages"], tokenizer=tokenizer) for dialogue in dialogues],
        task=task,
    )
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    config = _config(tokenizer, size=size)
    with torch.device(task.device):  # large ones are drawn where that is fast
        _save(LlamaForCausalLM(config), folder / "policy", tokenizer=tokenizer)
        config.num_labels = 1
        scorer = LlamaForSequenceClassification(config)
    _save(scorer, folder / "preference_model", tokenizer=tokenizer)
    (folder / "workload.json").write_text(json.dumps(asdict(workload)))
    return workload


def load(folder: Path) -> Workload:
    """Read back what `write` made."""
    found = json.loads((folder / "workload.json").read_text())
    return Workload(**found | {"task": Task(**found["task"])})


def _config(tokenizer: TextTokenizer, *, size: Size) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=tokenizer.vocabulary_size,
        hidden_size=size.hidden,
        intermediate_size=size.intermediate,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.key_heads,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.token_id(LAYOUT.end_of_turn),
        pad_token_id=tokenizer.token_id(PAD),
    )


def _save(model: PreTrainedModel, folder: Path, *, tokenizer: TextTokenizer) -> None:
    model.save_pretrained(folder)
    write_tokenizer(tokenizer, directory=folder, layout=LAYOUT)


def _pair(dialogue: dict[str, Any], *, tokenizer: TextTokenizer) -> tuple[list[int], list[int]]:
    sides = [
        encode_response(dialogue[side], encoder=tokenizer, layout=LAYOUT)[
            -LAYOUT.context_tokens // 2 :
        ]
        for side in ("chosen", "rejected")
    ]
    room = LAYOUT.context_tokens - 1 - max(map(len, sides))
    prompt = encode_prompt(
        dialogue["messages"], encoder=tokenizer, layout=LAYOUT, room=room
    ).token_ids
    score = tokenizer.token_id(LAYOUT.end_of_context)
    chosen, rejected = ([*prompt, *side, score] for side in sides)
    return chosen, rejected


def _prompt(messages: list[dict[str, str]], *, tokenizer: TextTokenizer) -> list[int]:
    return encode_prompt(messages, encoder=tokenizer, layout=LAYOUT, room=PROMPT_TOKENS).token_ids


def hh_dialogues(path: Path) -> Iterator[dict[str, Any]]:
    """Comparisons of a public HH file; rows that differ before the last reply are passed over."""
    with path.open("rb") as raw:
        is_packed = raw.read(2) == GZIP
    with (gzip.open if is_packed else open)(path, "rt", encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                row = json.loads(line)
                chosen, rejected = (_messages(row[side]) for side in ("chosen", "rejected"))
            except (ValueError, TypeError, KeyError):
                raise ValueError(
                    f"{path} has no row of a public HH file in line {number}"
                ) from None
            if chosen[:-1] == rejected[:-1] and chosen[-1] != rejected[-1] and len(chosen) % 2 == 0:
                texts = {"chosen": chosen[-1]["content"], "rejected": rejected[-1]["content"]}
                yield {"messages": chosen[:-1], **texts}


def _messages(transcript: str) -> list[dict[str, str]]:
    parts = re.split(r"\n\n(Human|Assistant):", transcript)
    if len(parts) < 3:
        raise ValueError("no turn")
    roles = {"Human": "user", "Assistant": "assistant"}
    pairs = zip(parts[1::2], parts[2::2], strict=True)
    return [{"role": roles[name], "content": text.strip()} for name, text in pairs]


def _random_dialogues(seed: int) -> Iterator[dict[str, Any]]:
    """Like harmless-base: 1 to 4 turns, about 25 words a message."""
    rng = random.Random(seed)

    def words() -> str:
        count = max(3, round(rng.expovariate(1 / 25)))
        return " ".join(
            rng.choice(
                [
                    "the",
                    "of",
                    "and",
                    "to",
                    "in",
                    "is",
                    "you",
                    "that",
                    "it",
                    "he",
                    "was",
                    "for",
                    "on",
                    "are",
                ]
            )
            for _ in range(count)
        )

    while True:
        messages = [
            {"role": ("user", "assistant")[index % 2], "content": words()}
            for index in range(2 * rng.randint(1, 4) - 1)
        ]
        yield {"messages": messages, "chosen": words(), "rejected": words()}
