"""A faster forward for models built like Llama: fused and transposed weights, few operations per token.

Gives the numbers of transformers' own forward up to rounding. Does not know prompts, rows or heads:
whoever calls brings the attention. Legend: T tokens, E hidden, H query heads, G key heads, D width.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel

from modelserving.lm.slot_attention import AttentionCall
from modelserving.lm.slots import KeyValueShape

FAMILIES = frozenset(
    f"{family}For{task}"
    for family in ("Llama", "Mistral", "Qwen2")
    for task in ("CausalLM", "SequenceClassification")
)
# query (T, H, D), key and value (T, G, D), layer, call → (T, H, D) or any view of as many numbers
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


def is_llama_like(model: PreTrainedModel) -> bool:
    """Whether the fast forward computes what the model's own does, and is faster here."""
    config = model.config
    if type(model).__name__ not in FAMILIES or next(model.parameters()).device.type != "cpu":
        return False
    return config.hidden_act == "silu" and not getattr(config, "mlp_bias", False)


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
        """Copy the weights into the layout that is fastest here.

        With `takes_over` the model's own matrices become views of the copies, so that nothing is
        held twice; without, later changes of the model are not seen.
        """
        backbone = model.base_model
        self.shape = shape_of(model)
        self.heads: int = model.config.num_attention_heads
        self._epsilon: float = model.config.rms_norm_eps
        self._embedding: Tensor = backbone.embed_tokens.weight
        self._rotary = backbone.rotary_emb
        self._norm: Tensor = backbone.norm.weight
        with torch.no_grad():
            self._layers = [_copied(layer, takes_over=takes_over) for layer in backbone.layers]

    def hidden(self, token_ids: Tensor, positions: Tensor, *, attend: Attend) -> Tensor:
        """Normed hidden states of tokens (T,) at positions (T,): (T, E)."""
        (T,) = token_ids.shape
        H, G, D = self.heads, self.shape.heads, self.shape.width
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
        return F.rms_norm(x, x.shape[-1:], self._norm, self._epsilon)


def _copied(layer: nn.Module, *, takes_over: bool) -> _Layer:
    attention, mlp = layer.self_attn, layer.mlp
    projections = (attention.q_proj, attention.k_proj, attention.v_proj)
    own = attention.config if type(layer).__name__.startswith("Mistral") else attention
    return _Layer(
        norm_in=layer.input_layernorm.weight,
        queries_keys_values=_transposed(projections, takes_over=takes_over),
        bias=None if projections[0].bias is None else torch.cat([p.bias for p in projections]),
        out=_transposed((attention.o_proj,), takes_over=takes_over),
        norm_mlp=layer.post_attention_layernorm.weight,
        gate_up=_transposed((mlp.gate_proj, mlp.up_proj), takes_over=takes_over),
        down=_transposed((mlp.down_proj,), takes_over=takes_over),
        call=AttentionCall(
            scaling=attention.scaling, window=getattr(own, "sliding_window", None), softcap=None
        ),
    )


def _transposed(linears: Sequence[nn.Linear], *, takes_over: bool) -> Tensor:
    """The matrices side by side, (in, out): products with few rows read them faster so."""
    joined = torch.cat([linear.weight for linear in linears]).t().contiguous()
    if takes_over:
        start = 0
        for linear in linears:
            linear.weight.data = joined[:, start : start + linear.out_features].t()
            start += linear.out_features
    return joined


def _signed(sin: Tensor) -> Tensor:
    """The sines with which the halves swapped by a roll enter: (T, D)."""
    half = sin.shape[-1] // 2
    return torch.cat((-sin[:, :half], sin[:, half:]), dim=-1)
