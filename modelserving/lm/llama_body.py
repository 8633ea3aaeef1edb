"""A faster forward for models built like Llama: weights laid out anew, few operations per token.

Gives the numbers of transformers' own forward up to rounding. Does not know prompts, rows or heads:
whoever calls brings the attention.
Legend: T tokens, S of them asked for, E hidden, H query heads, G key heads, D width.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel

from modelserving.lm.heads import Angles, TokenHeads
from modelserving.lm.matrices import Matrix, can_lay_out, matrix_of
from modelserving.lm.passes import norm
from modelserving.lm.positions import positions_of
from modelserving.lm.slot_attention import AttentionCall
from modelserving.lm.slots import KeyValueShape

FAMILIES = frozenset(f"{family}ForCausalLM" for family in ("Llama", "Mistral", "Qwen2"))
FIXED_TURNS = ("default", "linear", "llama3", "yarn")  # rotary embeddings that need no length
FIXED_AT_FIRST = ("dynamic", "longrope")  # those that need none within the model's positions
# heads, layer, call → (T, H, D) or any view of as many numbers
Attend = Callable[[TokenHeads, int, AttentionCall], Tensor]


@dataclass(frozen=True, kw_only=True)
class _Layer:
    """One block."""

    norm_in: Tensor
    queries_keys_values: Matrix
    out: Matrix
    norm_mlp: Tensor
    gate: Matrix
    up: Matrix
    down: Matrix
    call: AttentionCall


def is_llama_like(model: PreTrainedModel) -> bool:
    """Whether the fast forward computes what the model's own does, and is faster here."""
    config = model.config
    if type(model).__name__ not in FAMILIES or next(model.parameters()).device.type != "cpu":
        return False
    return bool(config.hidden_act == "silu")


def shape_of(model: PreTrainedModel) -> KeyValueShape:
    """What a token leaves behind in each layer of this model."""
    config = model.config.get_text_config()
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    first = next(model.parameters())
    return KeyValueShape(
        layers=config.num_hidden_layers,
        heads=getattr(config, "num_key_value_heads", None) or config.num_attention_heads,
        width=width,
        dtype=first.dtype,
        device=first.device,
    )


class LlamaBody:
    """The blocks of a model, from token ids to normed hidden states."""

    def __init__(self, model: PreTrainedModel, *, takes_over: bool) -> None:
        """Copy the weights into the layout that is fastest here; later changes of the model are not seen.

        With `takes_over` the model's own matrices are emptied, so that nothing is held twice.
        """
        backbone = model.base_model
        self.shape = shape_of(model)
        self.heads: int = model.config.num_attention_heads
        self._epsilon: float = model.config.rms_norm_eps
        self._embedding: Tensor = backbone.embed_tokens.weight
        self.rows_stand_alone = can_lay_out(self._embedding)  # bits of a row depend on it alone
        self._turns = Turns(backbone.rotary_emb, like=self._embedding)
        self._norm: Tensor = backbone.norm.weight
        with torch.no_grad():
            self._layers = [_laid_out(layer, takes_over=takes_over) for layer in backbone.layers]

    def hidden(
        self, token_ids: Tensor, positions: Tensor, *, attend: Attend, asked: Tensor | None = None
    ) -> Tensor:
        """Normed hidden states of tokens (T,) at positions (T,), or of those at some indices (S,): (T or S, E).

        What the last block adds to tokens that nobody asks for is not computed.
        """
        (T,) = token_ids.shape
        H, G, D = self.heads, self.shape.heads, self.shape.width
        x = F.embedding(token_ids, self._embedding)  # (T, E)
        cos, sin = self._turns.at(positions)
        angles = Angles(cos=cos, sin=sin)
        for index, layer in enumerate(self._layers):
            qkv = layer.queries_keys_values(self._normed(x, layer.norm_in)).view(T, H + 2 * G, D)
            heads = TokenHeads(together=qkv, queries=H, keys=G, angles=angles)
            mixed = attend(heads, index, layer.call).reshape(T, H * D)
            if asked is not None and index == len(self._layers) - 1:
                x, mixed = x.index_select(0, asked), mixed.index_select(0, asked)  # (S, …)
            x = layer.out.added_to(x, mixed)
            h = self._normed(x, layer.norm_mlp)
            x = layer.down.added_to(x, layer.up.times(layer.gate.silu(h), h))
        return self._normed(x, self._norm)

    def _normed(self, x: Tensor, weight: Tensor) -> Tensor:
        return norm(x, weight, epsilon=self._epsilon)[0]


class Turns:
    """Cosines and sines of rotary positions, kept in a table where they depend on the position alone."""

    def __init__(self, rotary: nn.Module, *, like: Tensor) -> None:
        """`like` has the numbers' type and device."""
        self._rotary = rotary
        self._like = like[:1]
        is_limited = getattr(rotary, "rope_type", "") in FIXED_AT_FIRST
        self._most = positions_of(rotary.config) if is_limited else None
        self._has_table = is_limited or has_table(rotary)
        self._cos, self._sin = self._computed(torch.arange(1, device=like.device))

    def at(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines, and sines as they meet halves swapped by a roll, of positions (T,): (T, 1, D) twice."""
        if not self._has_table:
            return self._computed(positions)
        needed = int(positions.max()) + 1
        if needed > len(self._cos):
            room = 1 << (needed - 1).bit_length()
            if self._most is not None:
                assert needed <= self._most, "beyond these positions the angles of all change"
                room = min(room, self._most)
            self._cos, self._sin = self._computed(torch.arange(room, device=positions.device))
        return self.in_table(positions)

    def in_table(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """The same of positions that the table is known to hold: the device need not be asked."""
        return self._cos[positions], self._sin[positions]

    def _computed(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        cos, sin = self._rotary(self._like, positions[None])
        half = sin.shape[-1] // 2
        signed = torch.cat((-sin[0, :, :half], sin[0, :, half:]), dim=-1)
        return cos[0][:, None], signed[:, None]


def has_table(rotary: nn.Module) -> bool:
    """Whether a position's turn depends on the position alone, however long the sequence."""
    return getattr(rotary, "rope_type", "") in FIXED_TURNS


def _laid_out(layer: nn.Module, *, takes_over: bool) -> _Layer:
    attention, mlp = layer.self_attn, layer.mlp
    own = attention.config if type(layer).__name__.startswith("Mistral") else attention
    projections = (attention.q_proj, attention.k_proj, attention.v_proj)
    return _Layer(
        norm_in=layer.input_layernorm.weight,
        queries_keys_values=matrix_of(projections, takes_over=takes_over),
        out=matrix_of((attention.o_proj,), takes_over=takes_over),
        norm_mlp=layer.post_attention_layernorm.weight,
        gate=matrix_of((mlp.gate_proj,), takes_over=takes_over),
        up=matrix_of((mlp.up_proj,), takes_over=takes_over),
        down=matrix_of((mlp.down_proj,), takes_over=takes_over),
        call=AttentionCall(
            scaling=attention.scaling, window=getattr(own, "sliding_window", None), softcap=None
        ),
    )
