"""Whole prompts read as packed rows, one thread each, for sampling with weights that change all the time.

Nothing is laid out anew but what the compiled step reads. A prompt's numbers are rounded with its row: the same prompts
and threads give the same bits. It does not know requests or sampling.

Legend: T tokens of a row, G key heads, D head size, V vocabulary.
"""

import sys
from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

from modelserving.lm.attention import hidden_states, pack
from modelserving.lm.choosing import Draw
from modelserving.lm.llama_body import is_llama_like, shape_of
from modelserving.lm.llama_reading import native_of, reader_of
from modelserving.lm.native.body import NativeBody
from modelserving.lm.native.rows import NativeRows
from modelserving.lm.packed_llama import fits
from modelserving.lm.reading import Reader
from modelserving.lm.slot_attention import Piece
from modelserving.lm.threads import balanced_bins, in_threads, threads_for


def packed_reader_of(model: PreTrainedModel) -> Reader:
    """The fastest reader of whole prompts for a model whose weights will not stay."""
    native = native_of(model) if is_llama_like(model) and fits(model.base_model) else None
    return reader_of(model) if native is None else PackedReader(model, native)


class PackedReader:
    """Reads prompts with the model's own weights, and rows by the compiled step."""

    def __init__(self, model: PreTrainedModel, native: NativeBody) -> None:
        """`native` holds the same weights."""
        self._model, self._native = model, native
        self.draw: Draw | None = native.draw
        self.bytes_used = native.bytes_used
        self.whole_prompts, self.piece_tokens = True, sys.maxsize
        self.shape = shape_of(model)

    def read_pieces(self, pieces: Sequence[Piece], *, all_logits: bool) -> list[Tensor]:
        """Read whole prompts; of each the logits of its last token (1, V)."""
        assert not all_logits, "log-probabilities of prompts are not told here"
        assert not any(piece.prompt.filled for piece in pieces), "prompts are read in one piece"
        lengths = [len(piece.token_ids) for piece in pieces]
        threads = threads_for(self._model)
        rows = [row for row in balanced_bins(lengths, count=threads) if row]
        found: list[Tensor] = [torch.empty(0)] * len(pieces)

        def read(row: Sequence[int]) -> None:
            logits = self._read([pieces[index] for index in row])
            for index, each in zip(row, logits.split(1), strict=True):
                found[index] = each

        in_threads(read, rows, threads=threads)
        return found

    def rows(self) -> NativeRows:
        """Room for samples that run, empty."""
        return NativeRows(self._native)

    def _read(self, pieces: Sequence[Piece]) -> Tensor:
        """One row of prompts: the logits of their last tokens (prompts, V)."""
        row = pack([[piece.token_ids] for piece in pieces])

        def keep(layer: int, key: Tensor, value: Tensor) -> None:
            """Keys, turned already, and values (T, G, D) of a layer."""
            for index, piece in enumerate(pieces):
                span = slice(row.tree_starts[index], row.tree_starts[index + 1])
                keys, values = (each[span].transpose(0, 1) for each in (key, value))
                piece.prompt.append(layer=layer, keys=keys, values=values)

        hidden = hidden_states(self._model, row, asked=row.ends, keep=keep)
        for piece in pieces:
            piece.prompt.filled = len(piece.token_ids)
        logits: Tensor = self._model.lm_head(hidden)
        return logits
