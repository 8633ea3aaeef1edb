"""The fast way to read prompts and rows, for models built like Llama on the CPU.

Anything it does not recognise is left to the general reader. Does not know requests or sampling.
Legend: N rows, C tokens of a piece, V vocabulary.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

from modelserving.lm.llama_body import LlamaBody, is_llama_like
from modelserving.lm.reading import Reader, TransformersReader
from modelserving.lm.slot_attention import AttentionCall, Piece, PiecesStep, RowsStep, room_step
from modelserving.lm.slots import Slots

LARGEST_HEAD = 1 << 26  # weights of the output layer above which it is not copied


def reader_of(model: PreTrainedModel, *, takes_over: bool = False) -> Reader:
    """The fastest reader for a model, whose weights must not change while it is used."""
    if is_llama_like(model):
        return LlamaReader(model, takes_over=takes_over)
    return TransformersReader(model)


class LlamaReader:
    """Reads prompts and rows with copies of the weights, made once."""

    def __init__(self, model: PreTrainedModel, *, takes_over: bool = False) -> None:
        """Lay the weights out; `takes_over` says that the model's own may point at the copies."""
        self._body = LlamaBody(model, takes_over=takes_over)
        self.shape = self._body.shape
        self.room_step = room_step(self._body.heads // self.shape.heads)
        with torch.no_grad():
            head = model.lm_head.weight
            self._head = head.t() if head.numel() > LARGEST_HEAD else head.t().contiguous()

    def read_pieces(self, pieces: Sequence[Piece], *, all_logits: bool) -> list[Tensor]:
        """Read on in several prompts; of each the logits (C, V), or of its last token (1, V)."""
        step = PiecesStep(pieces, device=self.shape.device)

        def attend(
            query: Tensor, key: Tensor, value: Tensor, layer: int, call: AttentionCall
        ) -> Tensor:
            heads_first = (each.transpose(0, 1)[None] for each in (query, key, value))
            return step.attend(*heads_first, layer=layer, call=call)[0].transpose(0, 1)

        hidden = self._body.hidden(step.token_ids, step.positions, attend=attend)  # (T, E)
        kept = hidden if all_logits else hidden[step.last_tokens]
        return step.finish(kept @ self._head, all_logits=all_logits)

    def read_rows(
        self, *, token_ids: Tensor, lengths: Tensor, longest: int, slots: Slots
    ) -> Tensor:
        """Read one token behind `lengths` (N,) tokens of each of the first N rows: logits (N, V)."""
        step = RowsStep(slots=slots, lengths=lengths, longest=longest)

        def attend(
            query: Tensor, key: Tensor, value: Tensor, layer: int, call: AttentionCall
        ) -> Tensor:
            one_token = (each[:, :, None] for each in (query, key, value))
            return step.attend(*one_token, layer=layer, call=call)

        return self._body.hidden(token_ids, lengths, attend=attend) @ self._head
