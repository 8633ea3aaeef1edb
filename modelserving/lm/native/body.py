"""A model built like Llama in the form that the compiled decode step reads: float32, whatever the model's type.

Copies the weights; later changes of the model are not seen. Does not know requests or sampling.
Legend: N rows, E hidden, H query heads, G key heads, D head width, I inputs and O outputs of a matrix.
"""

import ctypes
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from modelserving.lm.llama_body import Turns, shape_of
from modelserving.lm.native.compiling import NUMBERS, WHOLE


class _Matrix(ctypes.Structure):
    _fields_ = (("panels", NUMBERS), ("bias", NUMBERS), ("inputs", WHOLE), ("outputs", WHOLE))


class _Layer(ctypes.Structure):
    _fields_ = (
        ("norm_in", NUMBERS), ("norm_mlp", NUMBERS), ("queries_keys_values", _Matrix),
        ("out", _Matrix), ("gate", _Matrix), ("up", _Matrix), ("down", _Matrix),
        ("window", WHOLE), ("scaling", ctypes.c_float),
    )  # fmt: skip


class _Model(ctypes.Structure):
    _fields_ = (
        ("layers", WHOLE), ("hidden", WHOLE), ("heads", WHOLE), ("key_heads", WHOLE),
        ("width", WHOLE), ("epsilon", ctypes.c_float), ("embedding", NUMBERS), ("norm", NUMBERS),
        ("head", _Matrix), ("layer", ctypes.POINTER(_Layer)),
    )  # fmt: skip


class NativeBody:
    """The weights in panels, and the compiled step over them."""

    def __init__(self, model: PreTrainedModel, library: ctypes.CDLL) -> None:
        """Lay the weights out for `library`."""
        backbone = model.base_model
        self.shape = replace(shape_of(model), dtype=torch.float32)
        self.vocabulary: int = model.lm_head.weight.shape[0]
        self._library = library
        self._lanes = int(library.lanes())
        self._kept: list[Tensor] = []  # what the structures point at
        self.bytes_used = 0
        embedding = backbone.embed_tokens.weight
        self._turns = Turns(backbone.rotary_emb, like=embedding.float())
        layers = [self._layer(layer) for layer in backbone.layers]
        self._layers = (_Layer * len(layers))(*layers)
        self._model = _Model(
            layers=len(layers), hidden=embedding.shape[1],
            heads=model.config.num_attention_heads, key_heads=self.shape.heads,
            width=self.shape.width, epsilon=model.config.rms_norm_eps,
            embedding=self._keep(embedding), norm=self._keep(backbone.norm.weight),
            head=self._matrix((model.lm_head,)), layer=self._layers,
        )  # fmt: skip

    def read_rows(self, table: Tensor, positions: Tensor) -> Tensor:
        """Logits (N, V) of the rows in `table` (N, 8), laid out as Row in step.cpp."""
        N = len(table)
        cos, sin = (each.contiguous() for each in self._turns.at(positions))
        logits = torch.empty(N, self.vocabulary, dtype=torch.float32)
        failed = self._library.read_rows(
            ctypes.byref(self._model), NUMBERS(table.data_ptr()), WHOLE(N), NUMBERS(cos.data_ptr()),
            NUMBERS(sin.data_ptr()), NUMBERS(logits.data_ptr()), torch.get_num_threads(),
        )  # fmt: skip
        if failed:
            raise MemoryError("not enough memory for a decode step")
        return logits

    def draw(self, logits: Tensor, temperature: Tensor, uniforms: Tensor) -> tuple[Tensor, Tensor]:
        """A token for each row of logits (N, V), and its log-probability: (N,) twice."""
        return drawn(self._library, logits, temperature, uniforms)

    def _layer(self, layer: nn.Module) -> _Layer:
        attention, mlp = layer.self_attn, layer.mlp
        own = attention.config if type(layer).__name__.startswith("Mistral") else attention
        return _Layer(
            norm_in=self._keep(layer.input_layernorm.weight),
            norm_mlp=self._keep(layer.post_attention_layernorm.weight),
            queries_keys_values=self._matrix(
                (attention.q_proj, attention.k_proj, attention.v_proj)
            ),
            out=self._matrix((attention.o_proj,)),
            gate=self._matrix((mlp.gate_proj,)),
            up=self._matrix((mlp.up_proj,)),
            down=self._matrix((mlp.down_proj,)),
            window=getattr(own, "sliding_window", None) or 0,
            scaling=attention.scaling,
        )

    def _matrix(self, linears: Sequence[nn.Linear]) -> _Matrix:
        """Linear layers side by side as panels [O / LANES][I][LANES]."""
        weights = [linear.weight.detach() for linear in linears]
        weight = (torch.cat(weights) if weights[1:] else weights[0]).float()  # (O, I)
        O, I = weight.shape  # noqa: E741 -- the legend's letters
        if O % self._lanes:
            weight = nn.functional.pad(weight, (0, 0, 0, -O % self._lanes))
        panels = weight.view(-1, self._lanes, I).transpose(1, 2).contiguous()
        bias = None
        if linears[0].bias is not None:
            bias = torch.cat([linear.bias.detach() for linear in linears])
            bias = self._keep(nn.functional.pad(bias, (0, -O % self._lanes)))
        return _Matrix(panels=self._keep(panels, is_copy=True), bias=bias, inputs=I, outputs=O)

    def _keep(self, numbers: Tensor, *, is_copy: bool = False) -> int:
        """The address of numbers, in float32, that live as long as this body; copies count as memory used."""
        kept = numbers.detach().float()
        assert kept.is_contiguous(), "the compiled step reads rows that lie one after another"
        if is_copy or numbers.dtype != torch.float32:
            self.bytes_used += kept.nbytes
        self._kept.append(kept)
        return kept.data_ptr()


def drawn(
    library: ctypes.CDLL, logits: Tensor, temperature: Tensor, uniforms: Tensor
) -> tuple[Tensor, Tensor]:
    """A token for each row of logits (N, V), and its log-probability: (N,) twice."""
    N, V = logits.shape
    logits, temperature = logits.float().contiguous(), temperature.contiguous()
    uniforms = uniforms.contiguous()
    tokens = torch.empty(N, dtype=torch.long)
    logprobs = torch.empty(N, dtype=torch.float32)
    kinds = (logits.dtype, temperature.dtype, uniforms.dtype)
    assert kinds == (torch.float32, torch.float32, torch.float64), kinds
    failed = library.draw(
        NUMBERS(logits.data_ptr()), WHOLE(N), WHOLE(V), NUMBERS(temperature.data_ptr()),
        NUMBERS(uniforms.data_ptr()), NUMBERS(tokens.data_ptr()),
        NUMBERS(logprobs.data_ptr()), torch.get_num_threads(),
    )  # fmt: skip
    if failed:
        raise MemoryError("not enough memory to draw tokens")
    return tokens, logprobs
