"""Preference models: a language model's backbone with one scalar read at the end-of-context token.

It does not know how they are trained or served.

Legend: B dialogues, T tokens of a packed row.
"""

import copy
from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from modelserving.core.dialogue import Dialogue, encode_scored
from modelserving.lm.attention import hidden_states, pack
from modelserving.lm.loading import LoadedModel

ROW_TOKENS = {"cpu": 4096, "cuda": 32768}


def from_language_model(language_model: PreTrainedModel, *, seed: int) -> PreTrainedModel:
    """The same backbone under a fresh score head, drawn with std 0.1/√(hidden + 1) around zero.

    Small, so that training begins near the loss of a guess instead of unlearning noise.
    """
    config = copy.deepcopy(language_model.config)
    config.num_labels = 1
    config.architectures = None
    dtype = next(language_model.parameters()).dtype
    model = AutoModelForSequenceClassification.from_config(config, dtype=dtype)
    model.base_model.load_state_dict(language_model.base_model.state_dict())
    head: Tensor = model.score.weight
    generator = torch.Generator().manual_seed(seed)
    std = 0.1 * (head.shape[1] + 1) ** -0.5
    with torch.no_grad():
        head.copy_(torch.randn(head.shape, generator=generator) * std)
    return model.to(next(language_model.parameters()).device)


def score_groups(model: nn.Module, groups: Sequence[Sequence[Sequence[int]]]) -> Tensor:
    """Raw scores of token sequences that end on the end-of-context token, in order: (B,) float32.

    Sequences of one group share their common prefixes.
    """
    row = pack(groups)
    hidden = hidden_states(model, row, asked=row.ends)  # (B, hidden)
    return model.score(hidden)[:, 0].float()  # (B,)


@torch.no_grad()
def score_token_sequences(
    model: nn.Module, sequences: Sequence[Sequence[int]], *, keys: Sequence[object]
) -> Tensor:
    """Raw scores of many sequences in rows of bounded length; equal keys share prefixes: (B,)."""
    scores = torch.empty(len(sequences))
    row_tokens = ROW_TOKENS.get(next(model.parameters()).device.type, ROW_TOKENS["cpu"])
    for rows in _bounded(_grouped(keys), sequences, row_tokens=row_tokens):
        groups = [[sequences[index] for index in group] for group in rows]
        flat = [index for group in rows for index in group]
        scores[torch.tensor(flat)] = score_groups(model, groups).cpu()
    return scores


def score_dialogues(preference_model: LoadedModel, dialogues: Sequence[Dialogue]) -> Tensor:
    """Centred scores of dialogues that each end on a reply: (B,). Dialogues of one opening are read as one tree."""
    layout = preference_model.dialogue_format
    encoded = [
        encode_scored(dialogue, encoder=preference_model.tokenizer, layout=layout).token_ids
        for dialogue in dialogues
    ]
    keys = [dialogue[0]["content"] for dialogue in dialogues]
    raw = score_token_sequences(preference_model.model, encoded, keys=keys)
    return raw - (layout.score_center or 0.0)


def _grouped(keys: Sequence[object]) -> Iterable[list[int]]:
    groups: dict[object, list[int]] = {}
    for index, key in enumerate(keys):
        groups.setdefault(key, []).append(index)
    return groups.values()


def _bounded(
    groups: Iterable[list[int]], sequences: Sequence[Sequence[int]], *, row_tokens: int
) -> Iterator[list[list[int]]]:
    """Fill rows with groups until `row_tokens`; a larger group is cut, never a sequence."""
    row: list[list[int]] = []
    used = 0
    for group in groups:
        row.append([])
        for index in group:
            if used and used + len(sequences[index]) > row_tokens:
                yield [each for each in row if each]
                row, used = [[]], 0
            row[-1].append(index)
            used += len(sequences[index])
    if used:
        yield [each for each in row if each]
