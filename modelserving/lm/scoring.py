"""Score many dialogues with a loaded preference model: an opening that they share is read once.

For serving: no gradients, no padding. Models built like Llama are read as training reads them, by compiled attention
within trees; of others the branches of an opening never meet in an attention matrix. Does not know rankings or HTTP.
Legend: B sequences, T tokens of a row, H query heads, G key heads, D width.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from modelserving.core.dialogue import Dialogue, encode_scored
from modelserving.lm.attention import common_prefix, hidden_states, pack
from modelserving.lm.loading import LoadedModel
from modelserving.lm.packed_llama import fits
from modelserving.lm.passes import compiled_for
from modelserving.lm.slot_attention import SLOTS, AttentionCall, attention

# read together, after sharing: what others wait for, as they wait for a piece of a prompt
ROW_TOKENS = {"cpu": 1024, "cuda": 8192}
Tokens = Sequence[int]


@dataclass(frozen=True, kw_only=True)
class Opening:
    """Sequences by their places in the question, and how many leading tokens they share."""

    places: tuple[int, ...]
    shared: int


Row = list[Opening]  # what is read together


class Scorer:
    """One preference model, ready to score."""

    def __init__(self, loaded: LoadedModel) -> None:
        """Use the model as it is; its weights may change between calls."""
        self._loaded = loaded
        self._model = loaded.model
        weight = next(loaded.model.base_model.parameters())
        self._is_packed = fits(loaded.model.base_model) and compiled_for(weight) is not None

    def score_dialogues(self, dialogues: Sequence[Dialogue]) -> list[float]:
        """Centred scores of dialogues that each end on a reply, in order."""
        sequences = self.encoded(dialogues)
        scores: dict[int, float] = {}
        for row in self.rows(sequences):
            scores |= self.score_row(row, sequences)
        return [scores[place] for place in range(len(sequences))]

    def encoded(self, dialogues: Sequence[Dialogue]) -> list[list[int]]:
        """Their tokens up to the end-of-context token; `DialogueError` where one cannot be rendered."""
        layout, tokenizer = self._loaded.dialogue_format, self._loaded.tokenizer
        return [
            encode_scored(dialogue, encoder=tokenizer, layout=layout).token_ids
            for dialogue in dialogues
        ]

    def rows(self, sequences: Sequence[Tokens]) -> list[Row]:
        """All sequences in rows of at most `ROW_TOKENS`; a longer sequence is a row of its own."""
        row_tokens = ROW_TOKENS.get(self._model.device.type, ROW_TOKENS["cpu"])
        return list(_rows(_openings(sequences), sequences, row_tokens=row_tokens))

    def score_row(self, row: Row, sequences: Sequence[Tokens]) -> dict[int, float]:
        """Centred scores of a row's sequences, by their places."""
        center = self._loaded.dialogue_format.score_center or 0.0
        return {place: score - center for place, score in self._raw(row, sequences)}

    def score_tokens(self, sequences: Sequence[Tokens]) -> list[float]:
        """Raw scores of token sequences that end on the end-of-context token, in order."""
        scores = [0.0] * len(sequences)
        for row in self.rows(sequences):
            for place, score in self._raw(row, sequences):
                scores[place] = score
        return scores

    @torch.inference_mode()
    def _raw(self, row: Row, sequences: Sequence[Tokens]) -> list[tuple[int, float]]:
        values = self._model.score(self._hidden(row, sequences))[:, 0].float().tolist()
        places = [place for opening in row for place in opening.places]
        return list(zip(places, values, strict=True))

    def _hidden(self, openings: Sequence[Opening], sequences: Sequence[Tokens]) -> Tensor:
        """Normed hidden states of the last tokens, opening by opening: (B, E)."""
        if self._is_packed:
            row = pack([[sequences[place] for place in opening.places] for opening in openings])
            return hidden_states(self._model, row, asked=row.ends)
        step = ScoreStep(openings, sequences, device=self._model.device)
        backbone = self._model.base_model
        backbone.config._attn_implementation = SLOTS  # noqa: SLF001 -- the documented switch
        outputs = backbone(
            input_ids=step.token_ids[None],
            position_ids=step.positions[None],
            use_cache=False,
            slot_step=step,
        )
        return outputs.last_hidden_state[0, step.ends]


class ScoreStep:
    """Attention of a row of openings, each followed by its branches."""

    def __init__(
        self, openings: Sequence[Opening], sequences: Sequence[Tokens], *, device: torch.device
    ) -> None:
        """Lay openings and branches out one after another."""
        ids: list[int] = []
        positions: list[int] = []
        ends: list[int] = []
        self._spans: list[tuple[slice, list[slice]]] = []
        for opening in openings:
            start = len(ids)
            ids += sequences[opening.places[0]][: opening.shared]
            positions += range(opening.shared)
            trunk = slice(start, len(ids))
            branches = []
            for place in opening.places:
                begin, rest = len(ids), sequences[place][opening.shared :]
                ids += rest
                positions += range(opening.shared, opening.shared + len(rest))
                branches.append(slice(begin, len(ids)))
                ends.append(len(ids) - 1)
            self._spans.append((trunk, branches))
        self.token_ids = torch.tensor(ids, device=device)  # (T,)
        self.positions = torch.tensor(positions, device=device)  # (T,)
        self.ends = torch.tensor(ends, device=device)  # (B,)
        self._masks: dict[tuple[int, int | None], Tensor] = {}

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, *, layer: int, call: AttentionCall
    ) -> Tensor:
        """query (1, H, T, D), key and value (1, G, T, D) → (1, H, T, D)."""
        assert layer >= 0
        out = torch.empty_like(query)
        for trunk, branches in self._spans:
            keys, values = key[:, :, trunk], value[:, :, trunk]
            if trunk.stop > trunk.start:
                out[:, :, trunk] = self._attended(query, keys, values, span=trunk, call=call)
            for branch in branches:
                own_keys = torch.cat((keys, key[:, :, branch]), dim=2)
                own_values = torch.cat((values, value[:, :, branch]), dim=2)
                out[:, :, branch] = self._attended(
                    query, own_keys, own_values, span=branch, call=call
                )
        return out

    def _attended(
        self, query: Tensor, keys: Tensor, values: Tensor, *, span: slice, call: AttentionCall
    ) -> Tensor:
        mask = self._masks.get((span.start, call.window))
        if mask is None:
            total, device = keys.shape[2], keys.device
            at = torch.arange(total - (span.stop - span.start), total, device=device)[:, None]
            mask = call.visible(at=at, keys=torch.arange(total, device=device)[None, :])
            self._masks[(span.start, call.window)] = mask
        return attention(query[:, :, span], keys, values, visible=mask, call=call)


def _openings(sequences: Sequence[Tokens]) -> Iterable[Opening]:
    """Neighbours in sorted order that share more than half of the shorter one are read together."""
    order = sorted(range(len(sequences)), key=lambda place: list(sequences[place]))
    group: list[int] = []
    shared = 0
    for place in order:
        if group:
            common = min(shared, common_prefix(sequences[group[0]], sequences[place]))
            common = min(common, len(sequences[place]) - 1)
            if 2 * common >= min(len(sequences[place]), shared):
                group.append(place)
                shared = common
                continue
            yield Opening(places=tuple(group), shared=shared)
        group, shared = [place], len(sequences[place]) - 1
    if group:
        yield Opening(places=tuple(group), shared=shared)


def _rows(
    openings: Iterable[Opening], sequences: Sequence[Tokens], *, row_tokens: int
) -> Iterator[Row]:
    """Openings that are read together."""
    row: Row = []
    used = 0
    parts = (
        part for opening in openings for part in _parts(opening, sequences, row_tokens=row_tokens)
    )
    for opening in parts:
        size = opening.shared + sum(len(sequences[p]) - opening.shared for p in opening.places)
        if row and used + size > row_tokens:
            yield row
            row, used = [], 0
        row.append(opening)
        used += size
    if row:
        yield row


def _parts(opening: Opening, sequences: Sequence[Tokens], *, row_tokens: int) -> Iterator[Opening]:
    """The opening, read again for as many of its sequences as a row holds beside it."""
    places: list[int] = []
    used = opening.shared
    for place in opening.places:
        own = len(sequences[place]) - opening.shared
        if places and used + own > row_tokens:
            yield Opening(places=tuple(places), shared=opening.shared)
            places, used = [], opening.shared
        places.append(place)
        used += own
    yield Opening(places=tuple(places), shared=opening.shared)
