"""Run any transformers causal language model over prompts and running samples, with keys and values kept by us.

The way in is transformers' AttentionInterface, so that no architecture is named here. Does not know requests,
sampling or text. Legend: N rows, C tokens of a prompt piece, S tokens of room, H query heads, G key/value heads, D head width.
"""

from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AttentionInterface, PreTrainedModel

from modelserving.lm.slots import KeyValueShape, PromptKeyValues, Slots

SLOTS = "slots"


def padded_queries(per_head: int) -> int:
    """Query rows that share a key head, padded so that the bits of a row do not depend on others.

    Batched products with 1, 2 or a multiple of 4 rows sum in an order that the size of the batch
    does not change; others do not (measured with MKL).
    """
    return per_head if per_head <= 2 else -(-per_head // 4) * 4


def room_step(per_head: int) -> int:
    """Rows are read up to a multiple of so many tokens: masked tokens beyond it change no bit.

    With more than 2 query rows the library cuts the sum over the tokens in blocks that depend on
    their number, but not beyond whole multiples of 512 (measured with MKL).
    """
    return 64 if per_head <= 2 else 512


class Reader(Protocol):
    """What the sampler needs of a model."""

    shape: KeyValueShape
    room_step: int

    def read_prompt(
        self, *, token_ids: Tensor, prompt: PromptKeyValues, all_logits: bool
    ) -> Tensor:
        """Read C more tokens of a prompt; logits (C, V), or of the last token only (1, V)."""
        ...

    def read_rows(
        self, *, token_ids: Tensor, lengths: Tensor, longest: int, slots: Slots
    ) -> Tensor:
        """Read one token (N,) behind `lengths` (N,) tokens of each of the first N rows; logits (N, V)."""
        ...


@dataclass(kw_only=True)
class PromptStep:
    """Attention of a piece of a prompt: over all of the prompt before it, causally over itself."""

    prompt: PromptKeyValues
    _masks: dict[int | None, Tensor] = field(default_factory=dict)

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, *, layer: int, call: "AttentionCall"
    ) -> Tensor:
        """query (1, H, C, D), key and value (1, G, C, D) → (1, H, C, D)."""
        keys, values = self.prompt.append(layer=layer, keys=key[0], values=value[0])
        visible = self._visible(pieces=query.shape[2], tokens=keys.shape[1], call=call)
        return attention(query, keys[None], values[None], visible=visible, call=call)

    def _visible(self, *, pieces: int, tokens: int, call: "AttentionCall") -> Tensor:
        known = self._masks.get(call.window)
        if known is None:
            device = self.prompt.values.device
            at = torch.arange(tokens - pieces, tokens, device=device)[:, None]
            known = call.visible(at=at, keys=torch.arange(tokens, device=device)[None, :])
            self._masks[call.window] = known
        return known


class RowsStep:
    """Attention of one new token per row: over what the row holds."""

    def __init__(self, *, slots: Slots, lengths: Tensor, longest: int) -> None:
        """`lengths` (N,) counts the tokens before the new one; `longest` is the room to read."""
        self._slots = slots
        self._lengths = lengths
        self._longest = longest
        heads = slots.shape.heads
        (N,) = lengths.shape
        lines = torch.arange(N * heads, device=lengths.device)
        self._places = lines * slots.room + lengths.repeat_interleave(heads)  # (N·G,)
        self._biases: dict[int | None, Tensor] = {}

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, *, layer: int, call: "AttentionCall"
    ) -> Tensor:
        """query (N, H, 1, D), key and value (N, G, 1, D) → (N, H, 1, D)."""
        N, H, _, D = query.shape
        keys, values = self._slots.layer(layer)
        G = keys.shape[1]
        keys.view(-1, D).index_copy_(0, self._places, key.reshape(N * G, D))
        values.view(-1, D).index_copy_(0, self._places, value.reshape(N * G, D))
        keys = keys[:N].flatten(0, 1)[:, : self._longest]  # (N·G, S, D)
        values = values[:N].flatten(0, 1)[:, : self._longest]
        per_head = H // G
        grouped = query.reshape(N * G, per_head, D)  # query heads of one key head, as rows
        if padded_queries(per_head) != per_head:
            grouped = F.pad(grouped, (0, 0, 0, padded_queries(per_head) - per_head))
        scores = self._scores(grouped, keys, per_head=grouped.shape[1], call=call)
        weights = scores.softmax(dim=-1, dtype=torch.float32).to(values.dtype)
        out = torch.bmm(weights, values)  # (N·G, H/G padded, D)
        return out[:, :per_head].reshape(N, H, 1, D)

    def _scores(
        self, query: Tensor, keys: Tensor, *, per_head: int, call: "AttentionCall"
    ) -> Tensor:
        bias = self._bias(per_head, call=call)
        if call.softcap is None:
            return torch.baddbmm(bias, query, keys.transpose(1, 2), alpha=call.scaling)
        raw = torch.bmm(query, keys.transpose(1, 2)) * (call.scaling / call.softcap)
        return raw.tanh() * call.softcap + bias

    def _bias(self, per_head: int, *, call: "AttentionCall") -> Tensor:
        """0 where a row may look, -inf elsewhere: (N·G, H/G padded, S), made once per step."""
        known = self._biases.get(call.window)
        if known is None:
            keys = torch.arange(self._longest, device=self._lengths.device)[None, :]
            seen = call.visible(at=self._lengths[:, None], keys=keys)  # (N, S)
            shape = self._slots.shape
            zeros = torch.zeros(seen.shape, dtype=shape.dtype, device=shape.device)
            bias = zeros.masked_fill(~seen, float("-inf"))[:, None, None, :]
            known = bias.expand(-1, shape.heads, per_head, -1).reshape(-1, per_head, seen.shape[1])
            self._biases[call.window] = known
        return known


@dataclass(frozen=True, kw_only=True)
class AttentionCall:
    """What a layer asks of its attention beyond the tensors."""

    scaling: float
    window: int | None
    softcap: float | None

    def visible(self, *, at: Tensor, keys: Tensor) -> Tensor:
        """True where the token at position `at` may look at position `keys`."""
        seen = keys <= at
        return seen if self.window is None else seen & (keys > at - self.window)


def attention(
    query: Tensor, keys: Tensor, values: Tensor, *, visible: Tensor, call: AttentionCall
) -> Tensor:
    """Softmax attention: query (N, H, C, D), keys and values (N, G, S, D) → (N, H, C, D)."""
    grouped = query.shape[1] != keys.shape[1]
    if call.softcap is None:
        return F.scaled_dot_product_attention(
            query, keys, values, attn_mask=visible, scale=call.scaling, enable_gqa=grouped
        )
    if grouped:
        repeats = query.shape[1] // keys.shape[1]
        keys, values = (
            keys.repeat_interleave(repeats, dim=1),
            values.repeat_interleave(repeats, dim=1),
        )
    scores = torch.tanh(query @ keys.transpose(2, 3) * (call.scaling / call.softcap)) * call.softcap
    weights = scores.masked_fill(~visible, float("-inf")).float().softmax(dim=-1)
    return weights.to(query.dtype) @ values


def slots_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    slot_step: PromptStep | RowsStep,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **_: object,
) -> tuple[Tensor, None]:
    """transformers' attention interface over our own store of keys and values."""
    assert attention_mask is None, "positions say what is visible"
    scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
    call = AttentionCall(scaling=scaling, window=sliding_window, softcap=softcap)
    out = slot_step.attend(query, key, value, layer=module.layer_idx, call=call)
    return out.transpose(1, 2), None


AttentionInterface.register(SLOTS, slots_attention)


class TransformersReader:
    """Any causal language model of transformers, through its own forward."""

    def __init__(self, model: PreTrainedModel) -> None:
        """Use `model` as it is; its weights may change between calls."""
        self._model = model
        config = model.config.get_text_config()
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        width = (
            getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        )
        self.room_step = room_step(config.num_attention_heads // heads)
        first = next(model.parameters())
        self.shape = KeyValueShape(
            layers=config.num_hidden_layers,
            heads=heads,
            width=width,
            dtype=first.dtype,
            device=first.device,
        )

    def read_prompt(
        self, *, token_ids: Tensor, prompt: PromptKeyValues, all_logits: bool
    ) -> Tensor:
        """Read C more tokens of a prompt; logits (C, V), or of the last token only (1, V)."""
        (C,) = token_ids.shape
        positions = torch.arange(prompt.filled, prompt.filled + C, device=token_ids.device)
        logits = self._logits(
            token_ids[None],
            positions[None],
            step=PromptStep(prompt=prompt),
            keep=0 if all_logits else 1,
        )
        prompt.filled += C
        return logits[0]

    def read_rows(
        self, *, token_ids: Tensor, lengths: Tensor, longest: int, slots: Slots
    ) -> Tensor:
        """Read one token (N,) behind `lengths` (N,) tokens of each of the first N rows; logits (N, V)."""
        step = RowsStep(slots=slots, lengths=lengths, longest=longest)
        return self._logits(token_ids[:, None], lengths[:, None], step=step, keep=1)[:, 0]

    def _logits(self, token_ids: Tensor, positions: Tensor, *, step: Any, keep: int) -> Tensor:
        self._model.config._attn_implementation = SLOTS  # noqa: SLF001 -- the documented switch
        outputs = self._model(
            input_ids=token_ids,
            position_ids=positions,
            use_cache=False,
            slot_step=step,
            logits_to_keep=keep,
        )
        return outputs.logits
