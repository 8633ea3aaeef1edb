"""A faster forward for models built like Llama: fused and transposed weights, few operations per token.

Gives the numbers of transformers' own forward up to rounding; anything it does not recognise is left to
the general reader. Does not know requests or sampling. Legend: T tokens, E hidden, H query heads, G key heads,
D head width.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel

from modelserving.lm.reading import Reader, TransformersReader
from modelserving.lm.slot_attention import AttentionCall, Piece, PiecesStep, RowsStep, room_step
from modelserving.lm.slots import KeyValueShape, Slots

FAMILIES = ("LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM")
LARGEST_HEAD = 1 << 26  # weights of the output layer above which it is not copied
Attend = Callable[[Tensor, Tensor, Tensor, int, AttentionCall], Tensor]


@dataclass(frozen=True, kw_only=True)
class _Layer:
    """One block's weights; matrices are (in, out)."""

    norm_in: Tensor
    queries_keys_values: Tensor
    bias: Tensor | None
    out: Tensor
    norm_mlp: Tensor
    gate_up: Tensor
    down: Tensor
    call: AttentionCall


def reader_of(model: PreTrainedModel) -> Reader:
    """The fastest reader for a model; its weights must not change afterwards."""
    return LlamaReader(model) if is_llama_like(model) else TransformersReader(model)


def is_llama_like(model: PreTrainedModel) -> bool:
    """Whether the fast forward computes exactly what the model's own does."""
    config = model.config
    if type(model).__name__ not in FAMILIES or next(model.parameters()).device.type != "cpu":
        return False
    return config.hidden_act == "silu" and not getattr(config, "mlp_bias", False)


class LlamaReader:
    """Reads prompts and rows with copies of the weights, made once."""

    def __init__(self, model: PreTrainedModel) -> None:
        """Copy the weights into the layout that is fastest here."""
        config = model.config
        first = next(model.parameters())
        heads = config.num_key_value_heads
        width = (
            getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        )
        self.shape = KeyValueShape(
            layers=config.num_hidden_layers, heads=heads, width=width, dtype=first.dtype,
            device=first.device,
        )  # fmt: skip
        self.room_step = room_step(config.num_attention_heads // heads)
        self._heads = config.num_attention_heads
        self._epsilon = config.rms_norm_eps
        self._embedding = model.model.embed_tokens.weight
        self._rotary = model.model.rotary_emb
        with torch.no_grad():
            self._layers = [_copied(layer) for layer in model.model.layers]
            self._norm = model.model.norm.weight
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

        hidden = self._hidden(step.token_ids, step.positions, attend=attend)  # (T, E)
        logits = self._logits(hidden if all_logits else hidden[step.last_tokens])
        return step.finish(logits, all_logits=all_logits)

    def read_rows(
        self, *, token_ids: Tensor, lengths: Tensor, longest: int, slots: Slots
    ) -> Tensor:
        """Read one token (N,) behind `lengths` (N,) tokens of each of the first N rows; logits (N, V)."""
        step = RowsStep(slots=slots, lengths=lengths, longest=longest)

        def attend(
            query: Tensor, key: Tensor, value: Tensor, layer: int, call: AttentionCall
        ) -> Tensor:
            one_token = (each[:, :, None] for each in (query, key, value))
            return step.attend(*one_token, layer=layer, call=call)

        return self._logits(self._hidden(token_ids, lengths, attend=attend))

    def _hidden(self, token_ids: Tensor, positions: Tensor, *, attend: Attend) -> Tensor:
        """Hidden states before the last norm: (T, E)."""
        (T,) = token_ids.shape
        H, G, D = self._heads, self.shape.heads, self.shape.width
        x = F.embedding(token_ids, self._embedding)  # (T, E)
        cos, sin = self._rotary(x, positions[None])
        cos, sin = cos[0][:, None], _signed(sin[0])[:, None]  # (T, 1, D)
        for index, layer in enumerate(self._layers):
            h = F.rms_norm(x, x.shape[-1:], layer.norm_in, self._epsilon)
            qkv = h @ layer.queries_keys_values
            qkv = (qkv if layer.bias is None else qkv + layer.bias).view(T, H + 2 * G, D)
            turned = qkv[:, : H + G]
            turned = torch.addcmul(turned * cos, turned.roll(D // 2, dims=-1), sin)
            mixed = attend(turned[:, :H], turned[:, H:], qkv[:, H + G :], index, layer.call)
            x = torch.addmm(x, mixed.reshape(T, H * D), layer.out)
            h = F.rms_norm(x, x.shape[-1:], layer.norm_mlp, self._epsilon)
            gate, up = (h @ layer.gate_up).chunk(2, dim=-1)
            x = torch.addmm(x, F.silu(gate) * up, layer.down)
        return x

    def _logits(self, hidden: Tensor) -> Tensor:
        return F.rms_norm(hidden, hidden.shape[-1:], self._norm, self._epsilon) @ self._head


def _copied(layer: nn.Module) -> _Layer:
    attention, mlp = layer.self_attn, layer.mlp
    projections = (attention.q_proj, attention.k_proj, attention.v_proj)
    biases = [each.bias for each in projections]
    own = attention.config if type(layer).__name__.startswith("Mistral") else attention
    window = getattr(own, "sliding_window", None)
    return _Layer(
        norm_in=layer.input_layernorm.weight,
        queries_keys_values=_transposed(*(each.weight for each in projections)),
        bias=None if biases[0] is None else torch.cat(biases),
        out=_transposed(attention.o_proj.weight),
        norm_mlp=layer.post_attention_layernorm.weight,
        gate_up=_transposed(mlp.gate_proj.weight, mlp.up_proj.weight),
        down=_transposed(mlp.down_proj.weight),
        call=AttentionCall(scaling=attention.scaling, window=window, softcap=None),
    )


def _transposed(*weights: Tensor) -> Tensor:
    return torch.cat(list(weights)).t().contiguous()


def _signed(sin: Tensor) -> Tensor:
    """The sines with which the halves swapped by a roll enter: (T, D)."""
    half = sin.shape[-1] // 2
    return torch.cat((-sin[:, :half], sin[:, half:]), dim=-1)
