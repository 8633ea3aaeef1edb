"""The next token of every running sample, all of it on the device: one step that a GPU replays without Python.

For models built like Llama, read with their own weights. It does not know requests, or which sample sits in which row.

Legend: N rows, S tokens of room, R tokens of a response, G key heads, D head size, V vocabulary.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import PreTrainedModel

from modelserving.lm.choosing import inverted, log_probabilities
from modelserving.lm.heads import Angles
from modelserving.lm.llama_body import Turns, shape_of
from modelserving.lm.one_kernel import one_kernel
from modelserving.lm.packed_llama import weights_of, window_of
from modelserving.lm.passes import gated, norm

REACH = 256  # slots are read up to a multiple of so many: one recording for each


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """How the samples of one batch are drawn."""

    temperature: float
    stop_ids: Collection[int]
    most_tokens: int  # R


class DecodingRows:
    """Samples in rows, a sample's prompt and own tokens one after another in its slots; finished rows stand still.

    The model's weights must not change meanwhile: some are copied to lie side by side.
    """

    @torch.no_grad()
    def __init__(self, model: PreTrainedModel, *, rows: int, slots: int, drawing: Drawing) -> None:
        """All rows are free; `slots` hold a prompt and a response."""
        shape = shape_of(model)
        device, self.shape, self._drawing = shape.device, shape, drawing
        self._model, self._backbone = model, model.base_model
        self._turns = Turns(self._backbone.rotary_emb, like=self._backbone.embed_tokens.weight)
        self._turns.at(torch.tensor([slots - 1], device=device))  # makes the table
        self.slots = slots
        self.keys, self.values = (
            [shape.zeros(rows, tokens=slots) for _ in range(shape.layers)] for _ in range(2)
        )  # (N, G, S, D)
        counts = torch.zeros(3, rows, dtype=torch.long, device=device)
        self.last, self.position, self.drawn = counts  # (N,) each
        self.ended = torch.ones(rows, dtype=torch.bool, device=device)
        size = (rows, drawing.most_tokens)
        self.uniforms = torch.zeros(size, dtype=torch.float64, device=device)
        self.tokens = torch.zeros(size, dtype=torch.long, device=device)
        self.costs = torch.zeros(size, device=device)
        self._rows = torch.arange(rows, device=device)
        self._temperatures = torch.full((rows,), drawing.temperature, device=device)
        self._is_stop = torch.zeros(model.config.vocab_size, dtype=torch.bool, device=device)
        known = [each for each in drawing.stop_ids if 0 <= each < model.config.vocab_size]
        self._is_stop[known] = True
        self._steps: dict[int, Callable[[], None]] = {}
        self._pool = torch.cuda.graph_pool_handle() if device.type == "cuda" else None
        self._layers = [_layer(each) for each in self._backbone.layers]

    def advance(self, *, reach: int) -> None:
        """One more token of every sample that runs, none of which has come further than `reach` slots."""
        reach = min(self.slots, -(-reach // REACH) * REACH)
        if reach not in self._steps:
            self._steps[reach] = self._recorded(reach)
        self._steps[reach]()

    def _recorded(self, reach: int) -> Callable[[], None]:
        """A step as a CUDA graph; on a CPU the step itself."""
        if self.shape.device.type != "cuda":
            return lambda: self._step(reach)
        ended = self.ended.clone()
        self.ended.fill_(value=True)  # nothing is drawn while all is compiled
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            self._step(reach)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):  # nothing of one step is read by the next
            self._step(reach)
        self.ended.copy_(ended)
        return graph.replay

    @torch.no_grad()
    def _step(self, reach: int) -> None:
        hidden = self._hidden(reach)
        logits = self._model.lm_head(hidden)
        logprobs = log_probabilities(logits=logits, temperature=self._temperatures)  # (N, V)
        if self._drawing.temperature == 0:
            found = logprobs.argmax(dim=-1)
        else:
            place = self.drawn.clamp(max=self._drawing.most_tokens - 1)
            uniforms = self.uniforms[self._rows, place]
            found = inverted(probabilities=logprobs.exp(), uniforms=uniforms)
        self._settle(found, logprobs.gather(1, found[:, None])[:, 0])

    def _settle(self, found: Tensor, costs: Tensor) -> None:
        """Write the tokens (N,) down where rows run."""
        most = self._drawing.most_tokens
        at = (self._rows, self.drawn.clamp(max=most - 1))
        runs = ~self.ended
        self.tokens.index_put_(at, torch.where(runs, found, self.tokens[at]))
        self.costs.index_put_(at, torch.where(runs, costs, self.costs[at]))
        self.last.copy_(torch.where(runs, found, self.last))
        self.drawn.add_(runs)
        self.position.add_(runs)
        self.ended.logical_or_(self._is_stop[found] | (self.drawn >= most))

    def _hidden(self, reach: int) -> Tensor:
        """Normed hidden states of the last tokens: (N, E)."""
        backbone = self._backbone
        epsilon = backbone.config.rms_norm_eps
        x = F.embedding(self.last, backbone.embed_tokens.weight)  # (N, E)
        cos, sin = self._turns.in_table(self.position)
        angles = Angles(cos=cos, sin=sin)
        biases: dict[int | None, Tensor] = {}
        for index, layer in enumerate(self._layers):
            if layer.window not in biases:
                biases[layer.window] = self._bias(reach, window=layer.window)
            h, _ = norm(x, layer.norm_in, epsilon=epsilon)
            heads = F.linear(h, layer.queries_keys_values, layer.bias)
            mixed = self._attended(
                heads.unflatten(-1, (-1, self.shape.width)), index, angles=angles,
                bias=biases[layer.window], scale=layer.scale,
            )  # fmt: skip
            x = torch.addmm(x, mixed, layer.out.t())
            h, _ = norm(x, layer.norm_mlp, epsilon=epsilon)
            gate, up = F.linear(h, layer.gate_up).chunk(2, dim=-1)
            x = torch.addmm(x, gated(gate, up), layer.down.t())
        return norm(x, backbone.norm.weight, epsilon=epsilon)[0]

    def _bias(self, reach: int, *, window: int | None) -> Tensor:
        """0 where a row's new token may look, −inf elsewhere: (N, 1, 1, S)."""
        slots = torch.arange(reach, device=self.shape.device)
        at = self.position.clamp(max=reach - 1)[:, None]  # a row that has ended may stand behind
        seen = slots <= at
        if window is not None:
            seen &= slots > at - window
        bias = torch.zeros(seen.shape, dtype=torch.float32, device=self.shape.device)
        return bias.masked_fill_(~seen, float("-inf"))[:, None, None]

    def _attended(
        self, heads: Tensor, layer: int, *, angles: Angles, bias: Tensor, scale: float
    ) -> Tensor:
        """Queries, keys and values side by side (N, H + 2G, D) → (N, H·D)."""
        G = self.shape.heads
        turned = angles.turned(heads[:, :-G])  # (N, H + G, D)
        keys, values = self.keys[layer], self.values[layer]
        keys[self._rows, :, self.position] = turned[:, -G:]
        values[self._rows, :, self.position] = heads[:, -G:]
        reach = bias.shape[-1]
        asking = turned[:, :-G].unflatten(1, (G, -1))  # (N, G, H/G, D)
        scores = torch.matmul(asking, keys[:, :, :reach].transpose(2, 3))
        found = _probabilities(scores, bias, scale)
        return torch.matmul(found, values[:, :, :reach]).flatten(1)


@dataclass(frozen=True, kw_only=True)
class _Layer:
    """A layer's weights, those of one input side by side: with few rows a product costs as long as its launch."""

    norm_in: Tensor
    queries_keys_values: Tensor
    bias: Tensor | None
    out: Tensor
    norm_mlp: Tensor
    gate_up: Tensor
    down: Tensor
    scale: float
    window: int | None


def _layer(layer: Any) -> _Layer:
    own = weights_of(layer)
    biases = [each for each in (own.query_bias, own.key_bias, own.value_bias) if each is not None]
    return _Layer(
        norm_in=own.norm_in,
        queries_keys_values=torch.cat([own.query, own.key, own.value]),
        bias=torch.cat(biases) if biases else None,
        out=own.out,
        norm_mlp=own.norm_mlp,
        gate_up=torch.cat([own.gate, own.up]),
        down=own.down,
        scale=layer.self_attn.scaling,
        window=window_of(layer),
    )


def copied_bytes(model: PreTrainedModel) -> int:
    """What the copies of a model's weights take while its samples are drawn."""
    copied = (
        each
        for layer in model.base_model.layers
        for own in [weights_of(layer)]
        for each in (own.query, own.key, own.value, own.gate, own.up)
    )
    return sum(each.numel() * each.element_size() for each in copied)


@one_kernel
def _probabilities(scores: Tensor, bias: Tensor, scale: float) -> Tensor:
    return torch.softmax(scores.float() * scale + bias, dim=-1).to(scores.dtype)
