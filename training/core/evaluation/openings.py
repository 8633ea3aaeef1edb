"""First messages of a release by objective: what requests out of distribution are told from.

It does not know models.

The first human message stands alone, without the dialogue that followed: one prompt per conversation, so that prompts
are independent of each other, and the same text that decides a conversation's split.
"""

from collections.abc import Mapping
from pathlib import Path

from modelserving.core.dialogue import DialogueFormat, TextEncoder, encode_prompt
from training.config import ConfigError
from training.core.data import Split, read_release
from training.core.preference_sets import stable_order

Part = tuple[Split, str]
PARTS: tuple[Part, ...] = (
    ("train", "helpful"),
    ("train", "harmless"),
    ("test", "helpful"),
    ("test", "harmless"),
)
FEWEST = 10  # of each part; an AUROC of fewer says nothing


def read_openings(release: Path, *, most: int) -> dict[Part, list[str]]:
    """Distinct first messages of each part, up to `most` in an order fixed by hash.

    A text that stands under both objectives is neither, and is left out.
    """
    found: dict[Part, dict[str, None]] = {part: {} for part in PARTS}
    splits: tuple[Split, ...] = ("train", "test")
    for split in splits:
        for row in read_release(release, split):
            if (split, row.objective) in found:
                found[split, row.objective][row.first_human_message.strip()] = None
    both = _of(found, "helpful") & _of(found, "harmless")
    return {
        part: sorted((text for text in texts if text not in both), key=stable_order)[:most]
        for part, texts in found.items()
    }


def too_few(openings: Mapping[Part, list[str]]) -> str:
    """What is missing, with the numbers; empty when there is enough of each part."""
    if all(len(openings[part]) >= FEWEST for part in PARTS):
        return ""
    counts = ", ".join(f"{len(openings[part])} {part[1]} to {_VERBS[part[0]]}" for part in PARTS)
    return (
        f"out_of_distribution needs {FEWEST} different first messages of each part, the release has "
        f"{counts}: cut a larger release with both objectives, or raise max_examples"
    )


def encoded(
    openings: Mapping[Part, list[str]], *, encoder: TextEncoder, layout: DialogueFormat
) -> list[list[int]]:
    """Every prompt in tokens, part after part, up to where its reply would begin; refuses too few."""
    if missing := too_few(openings):
        raise ConfigError(missing)
    return [
        encode_prompt(
            [{"role": "user", "content": text}],
            encoder=encoder,
            layout=layout,
            room=layout.context_tokens,
        ).token_ids
        for part in PARTS
        for text in openings[part]
    ]


_VERBS: Mapping[Split, str] = {"train": "fit on", "test": "judge by"}


def _of(found: Mapping[Part, Mapping[str, None]], objective: str) -> set[str]:
    return {text for part, texts in found.items() if part[1] == objective for text in texts}
