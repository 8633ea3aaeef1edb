"""The backbone of Llama-like models over a packed row, by hand-written blocks.

Any other architecture goes through transformers' own forward. It does not know losses or what is asked for.

Legend: T tokens of the row, U different ones among them, S tokens asked for, E hidden, D head size.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modelserving.lm.heads import Angles
from modelserving.lm.packed_block import BlockCall, BlockWeights, packed_block
from modelserving.lm.products import FEWEST, multiplies_in_int16
from modelserving.lm.tree_plan import TreePlan

LAYERS = ("LlamaDecoderLayer", "MistralDecoderLayer", "Qwen2DecoderLayer")
KNOWN_DEVICES = ("cpu", "cuda")
# (window, the tokens asked for) → which tokens are multiplied together
Plans = Callable[[int | None, Tensor | None], TreePlan]
# takes the number of a layer, its turned keys and its values (T, G, D)
KeepLayer = Callable[[int, Tensor, Tensor], None]


LEFT = "_left_to_transformers"


def leave_to_transformers(backbone: nn.Module) -> None:
    """Have this backbone read by its own forward, as one with adapters is: both then round alike."""
    setattr(backbone, LEFT, True)


def fits(backbone: nn.Module) -> bool:
    """Whether the hand-written blocks compute what this backbone's own forward does."""
    layers = None if hasattr(backbone, LEFT) else getattr(backbone, "layers", None)
    if layers is None or next(backbone.parameters()).device.type not in KNOWN_DEVICES:
        return False
    return backbone.config.hidden_act == "silu" and all(map(_is_plain, layers))


def _is_plain(layer: Any) -> bool:
    """No adapter, no bias but those of queries, keys and values, weights that are whole on this process."""
    if type(layer).__name__ not in LAYERS:
        return False
    attention, mlp = layer.self_attn, layer.mlp
    free = (attention.o_proj, mlp.gate_proj, mlp.up_proj, mlp.down_proj)
    linears = (attention.q_proj, attention.k_proj, attention.v_proj, *free)
    if any(type(linear) is not nn.Linear for linear in linears):
        return False
    return all(each.bias is None for each in free) and all(
        type(parameter) is nn.Parameter for parameter in layer.parameters()
    )


def packed_hidden(
    backbone: Any,
    *,
    tokens: Tensor,
    positions: Tensor,
    plans: Plans,
    asked: Tensor | None,
    keep: KeepLayer | None = None,
) -> Tensor:
    """Normed hidden states of the tokens (T,) asked for, or of all: (S, E). `asked` lies on the CPU, where plans are made."""
    at = None if asked is None else asked.to(tokens.device)
    distinct, places = _distinct(tokens, layers=len(backbone.layers))
    x = F.embedding(distinct, backbone.embed_tokens.weight)  # (U, E)
    cos, sin = (each[0] for each in backbone.rotary_emb(x, positions[None]))  # (T, D)
    signed = torch.cat((-sin[:, : sin.shape[1] // 2], sin[:, sin.shape[1] // 2 :]), dim=1)
    everywhere = Angles(cos=cos[:, None], sin=signed[:, None])
    there = everywhere
    if at is not None:
        there = Angles(cos=everywhere.cos[at], sin=everywhere.sin[at])
    for index, layer in enumerate(backbone.layers):
        is_last = index == len(backbone.layers) - 1
        call = BlockCall(
            plan=plans(window_of(layer), asked if is_last else None),
            turns=(there if is_last else everywhere, everywhere),
            scale=layer.self_attn.scaling,
            epsilon=backbone.config.rms_norm_eps,
            asked=at if is_last else None,
            places=places if index == 0 else None,
            recompute=layer.gradient_checkpointing and layer.training,
            keep=None if keep is None else partial(keep, index),
        )
        x = packed_block(x, weights=weights_of(layer), call=call)  # (T, E), at last (S, E)
    normed: Tensor = backbone.norm(x)
    return normed


def _distinct(tokens: Tensor, *, layers: int) -> tuple[Tensor, Tensor | None]:
    """Each token once, and where each of the row's stands among them: before attention equal tokens are the same.

    Only in int16, where no row's bits depend on how many are multiplied; the last block keeps to what it is asked.
    """
    if layers < 2 or not multiplies_in_int16():
        return tokens, None
    distinct, places = tokens.unique(return_inverse=True)
    return (tokens, None) if len(distinct) < FEWEST else (distinct, places)


def window_of(layer: Any) -> int | None:
    """How many tokens back a layer looks; None: all."""
    attention = layer.self_attn
    own = attention.config if type(layer).__name__.startswith("Mistral") else attention
    window: int | None = getattr(own, "sliding_window", None)
    return window


def weights_of(layer: Any) -> BlockWeights:
    """A layer's own tensors, by what they do."""
    attention, mlp = layer.self_attn, layer.mlp
    projections = (attention.q_proj, attention.k_proj, attention.v_proj)
    return BlockWeights(
        layer.input_layernorm.weight,
        *(projection.weight for projection in projections),
        *(projection.bias for projection in projections),
        attention.o_proj.weight,
        layer.post_attention_layernorm.weight,
        mlp.gate_proj.weight,
        mlp.up_proj.weight,
        mlp.down_proj.weight,
    )
