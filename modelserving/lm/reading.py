"""Run a causal language model over prompts and running samples, with keys and values kept by us.

The general way: any architecture of transformers, by its own forward. Does not know requests,
sampling or text. Legend: N rows, C tokens of a piece, V vocabulary.
"""

from collections.abc import Sequence
from typing import Any, Protocol

from torch import Tensor
from transformers import PreTrainedModel

from modelserving.lm.choosing import Draw
from modelserving.lm.llama_body import shape_of
from modelserving.lm.prefix_cache import BLOCK
from modelserving.lm.slot_attention import SLOTS, Piece, PiecesStep, RowsStep
from modelserving.lm.slot_rows import RunningRows, SlotRows
from modelserving.lm.slots import KeyValueShape

ROW_STEP = 8  # products of a multiple of so many rows give each the same bits


class Reader(Protocol):
    """What the sampler needs of a model."""

    shape: KeyValueShape
    draw: Draw | None  # draws faster than torch, where there is such a thing
    bytes_used: int  # memory of copies of the weights beyond the model's own
    whole_prompts: bool  # reads each prompt in one piece, and knows no beginning of it
    # of a prompt at once, so that the bits of a token are the same in whatever pieces it is read; whole blocks
    piece_tokens: int

    def read_pieces(self, pieces: Sequence[Piece], *, all_logits: bool) -> list[Tensor]:
        """Read on in several prompts; of each the logits (C, V), or of its last token (1, V)."""
        ...

    def rows(self) -> RunningRows:
        """Room for samples that run, empty."""
        ...


class TransformersReader:
    """Any causal language model of transformers, through its own forward."""

    def __init__(self, model: PreTrainedModel) -> None:
        """Use `model` as it is; its weights may change between calls."""
        self._model = model
        self.shape = shape_of(model)
        heads = model.config.get_text_config().num_attention_heads
        self.draw: Draw | None = None
        self.bytes_used = 0
        self.whole_prompts, self.piece_tokens = False, BLOCK
        self._per_head = heads // self.shape.heads

    def read_pieces(self, pieces: Sequence[Piece], *, all_logits: bool) -> list[Tensor]:
        """Read on in several prompts; of each the logits (C, V), or of its last token (1, V)."""
        step = PiecesStep(pieces, device=self.shape.device)
        keep = 0 if all_logits else step.last_tokens
        logits = self._logits(step.token_ids[None], step.positions[None], step=step, keep=keep)
        return step.finish(logits[0], all_logits=all_logits)

    def rows(self) -> RunningRows:
        """Room for samples that run, empty."""
        return SlotRows(
            self._read_rows, shape=self.shape, per_head=self._per_head, row_step=ROW_STEP
        )

    def _read_rows(self, token_ids: Tensor, step: RowsStep) -> Tensor:
        """Read the new token (N,) of each row: logits (N, V)."""
        return self._logits(token_ids[:, None], step.positions[:, None], step=step, keep=1)[:, 0]

    def _logits(
        self, token_ids: Tensor, positions: Tensor, *, step: Any, keep: int | Tensor
    ) -> Tensor:
        self._model.config._attn_implementation = SLOTS  # noqa: SLF001 -- the documented switch
        outputs = self._model(
            input_ids=token_ids,
            position_ids=positions,
            use_cache=False,
            slot_step=step,
            logits_to_keep=keep,
        )
        return outputs.logits
