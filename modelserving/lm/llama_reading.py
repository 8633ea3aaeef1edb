"""The fast way to read prompts and rows, for models built like Llama on the CPU.

Anything it does not recognise is left to the general reader. Does not know requests or sampling.
Legend: N rows, C tokens of a piece, V vocabulary.
"""

import copy
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from transformers import PretrainedConfig, PreTrainedModel

from modelserving.lm.adapters import Adapter
from modelserving.lm.choosing import Draw
from modelserving.lm.heads import TokenHeads
from modelserving.lm.llama_body import FAMILIES, LlamaBody, is_llama_like
from modelserving.lm.matrices import matrix_of
from modelserving.lm.native.body import NativeBody
from modelserving.lm.native.compiling import library
from modelserving.lm.native.rows import NativeRows
from modelserving.lm.passes import COMPILED, compiled_for
from modelserving.lm.piece_attention import CompiledPieces
from modelserving.lm.prefix_cache import BLOCK
from modelserving.lm.reading import ROW_STEP, Reader, TransformersReader
from modelserving.lm.slot_attention import AttentionCall, Piece, PiecesStep, RowsStep
from modelserving.lm.slot_rows import RunningRows, SlotRows

LARGEST_COPY = (
    1 << 26
)  # weights of an output layer that is the embedding too, above which it is not copied
LARGEST_NATIVE = (
    1 << 26
)  # weights above which the compiled step's own copy costs more memory than its speed is worth

MOST_TOKENS = 1024  # of a prompt that are read at once


def reader_of(model: PreTrainedModel, *, takes_over: bool = False) -> Reader:
    """The fastest reader for a model, whose weights must not change while it is used."""
    if is_llama_like(model):
        return LlamaReader(model, takes_over=takes_over)
    return TransformersReader(model)


class LlamaReader:
    """Reads prompts and rows with copies of the weights, made once."""

    def __init__(self, model: PreTrainedModel, *, takes_over: bool = False) -> None:
        """Lay the weights out; `takes_over` says that the model's own may be emptied."""
        self._native = native_of(model)  # before the model's own weights are emptied
        self.draw: Draw | None = self._native.draw if self._native else None
        self.bytes_used = self._native.bytes_used if self._native else 0
        self._library = compiled_for(next(model.parameters()))
        self._body = LlamaBody(model, takes_over=takes_over)
        self.shape = self._body.shape
        stand_alone = self._body.rows_stand_alone
        self._row_step = 1 if stand_alone else ROW_STEP
        self.whole_prompts = False
        self.piece_tokens = MOST_TOKENS if stand_alone and self._library is not None else BLOCK
        head, is_tied = model.lm_head, model.config.tie_word_embeddings
        self._head: Callable[[Tensor], Tensor] = head
        if not is_tied or head.weight.numel() <= LARGEST_COPY:
            self._head = matrix_of((head,), takes_over=takes_over and not is_tied)
            self.bytes_used += head.weight.nbytes if is_tied else 0

    def adapted(self, adapter: Adapter) -> "LlamaReader":
        """A reader of the same weights with an adapter beside them; it is not compiled."""
        reader = copy.copy(self)
        reader._body = adapter.body(self._body)  # noqa: SLF001 -- our own copy
        reader._native, reader._row_step = None, ROW_STEP  # noqa: SLF001 -- as above
        reader.piece_tokens = BLOCK  # its products round by their number of rows
        reader.draw, reader.bytes_used = None, 0
        return reader

    def read_pieces(self, pieces: Sequence[Piece], *, all_logits: bool) -> list[Tensor]:
        """Read on in several prompts; of each the logits (C, V), or of its last token (1, V)."""
        step = PiecesStep(pieces, device=self.shape.device)

        def attend(heads: TokenHeads, layer: int, call: AttentionCall) -> Tensor:
            heads_first = (each.transpose(0, 1)[None] for each in heads.turned())
            return step.attend(*heads_first, layer=layer, call=call)[0].transpose(0, 1)

        compiled = None if self._library is None else CompiledPieces(step, self._library).attend
        asked = None if all_logits else step.last_tokens
        hidden = self._body.hidden(
            step.token_ids, step.positions, attend=compiled or attend, asked=asked
        )
        return step.finish(self._head(hidden), all_logits=all_logits)

    def rows(self) -> RunningRows:
        """Room for samples that run, empty."""
        if self._native is not None:
            return NativeRows(self._native)
        return SlotRows(
            self._read_rows,
            shape=self.shape,
            per_head=self._body.heads // self.shape.heads,
            row_step=self._row_step,
        )

    def _read_rows(self, token_ids: Tensor, step: RowsStep) -> Tensor:
        """Read the new token (N,) of each row: logits (N, V)."""

        def attend(heads: TokenHeads, layer: int, call: AttentionCall) -> Tensor:
            one_token = (each[:, :, None] for each in heads.turned())
            return step.attend(*one_token, layer=layer, call=call)

        return self._head(self._body.hidden(token_ids, step.positions, attend=attend))


def bytes_beside(
    config: PretrainedConfig, *, weights: int, dtype: torch.dtype, device: torch.device
) -> int:
    """About how many `bytes_used` the reader of a model with so many weights will have, told before they are read."""
    is_like_llama = not FAMILIES.isdisjoint(config.architectures or ())
    if not is_like_llama or device.type != "cpu" or getattr(config, "hidden_act", "") != "silu":
        return 0
    embedding = min(config.vocab_size * config.hidden_size, weights)  # whatever a config claims
    head = embedding if config.tie_word_embeddings else 0
    found = head * dtype.itemsize if head <= LARGEST_COPY else 0
    if dtype in COMPILED and weights <= LARGEST_NATIVE and library() is not None:
        shared = embedding if dtype == torch.float32 else 0  # read where the model has it
        found += (weights + head - shared) * torch.float32.itemsize
    return found


def native_of(model: PreTrainedModel) -> NativeBody | None:
    """The compiled step for this model, if it is of a kind and size that it suits and can be compiled."""
    if model.lm_head.weight.dtype not in COMPILED or model.num_parameters() > LARGEST_NATIVE:
        return None
    compiled = library()
    return None if compiled is None else NativeBody(model, compiled)
