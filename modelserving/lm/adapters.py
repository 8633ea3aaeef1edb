"""Low-rank adapters over a model that is loaded already: its weights stay where they are, held once for all.

Reads peft's files. Does not know where checkpoints are or who serves them.
Legend: N rows, I inputs, O outputs, R rank.
"""

import copy
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from modelserving.core.adapters import WEIGHTS, AdapterConfig
from modelserving.core.architectures import CheckpointRefused
from modelserving.lm.llama_body import LlamaBody
from modelserving.lm.matrices import Matrix
from modelserving.lm.own_memory import owned
from modelserving.lm.slots import KeyValueShape

PREFIX, DOWN, UP = "base_model.model.", ".lora_A.weight", ".lora_B.weight"
ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")


@dataclass(frozen=True, kw_only=True)
class _LowRank:
    """What is added to one linear layer: scale · B A."""

    down: Tensor  # A (R, I)
    up: Tensor  # scale · B (O, R)


class Adapter:
    """The low-rank parts by the names of the layers that they are added to."""

    def __init__(self, parts: Mapping[str, _LowRank]) -> None:
        """`parts` by module name, such as model.layers.0.self_attn.q_proj."""
        self._parts = parts

    @property
    def bytes_used(self) -> int:
        """Memory of the adapter alone."""
        return sum(part.down.nbytes + part.up.nbytes for part in self._parts.values())

    @torch.no_grad()
    def merge_into(self, base: PreTrainedModel) -> None:
        """Make the base the sum of both."""
        for name, part in self._parts.items():
            weight = base.get_submodule(name).weight
            weight.copy_(weight.float() + (part.up @ part.down).to(weight.device))

    def body(self, base: LlamaBody) -> LlamaBody:
        """The base's body with this adapter: everything else is the base's own."""
        adapted, parts = copy.copy(base), self._like(base.shape)
        adapted._layers = [  # noqa: SLF001 -- a body like the base's, made here alone
            dataclasses.replace(
                layer,
                queries_keys_values=_beside(
                    layer.queries_keys_values,
                    _of(parts, index, ATTENTION[:3]),
                    widths=_widths(base),
                ),
                out=_beside(layer.out, _of(parts, index, ("o_proj",))),
                gate=_beside(layer.gate, _of(parts, index, ("gate_proj",))),
                up=_beside(layer.up, _of(parts, index, ("up_proj",))),
                down=_beside(layer.down, _of(parts, index, ("down_proj",))),
            )
            for index, layer in enumerate(base._layers)  # noqa: SLF001 -- as above
        ]
        return adapted

    def _like(self, shape: KeyValueShape) -> dict[str, _LowRank]:
        """The parts in the type, and on the device, that the base computes in."""

        def there(part: Tensor) -> Tensor:
            return part.to(device=shape.device, dtype=shape.dtype)

        return {
            name: _LowRank(down=there(part.down), up=there(part.up))
            for name, part in self._parts.items()
        }


def load_adapter(directory: Path, *, config: AdapterConfig, base: PreTrainedModel) -> Adapter:
    """Read an adapter's weights; refuses names, shapes and numbers that do not fit the base."""
    try:
        stored = load_file(directory / WEIGHTS)
    except (SafetensorError, OSError) as broken:
        raise CheckpointRefused(f"{directory / WEIGHTS} cannot be read: {broken}") from None
    layers = _linears(base)
    names = {name.removesuffix(DOWN).removesuffix(UP).removeprefix(PREFIX) for name in stored}
    wanted = {f"{PREFIX}{name}{part}" for name in names for part in (DOWN, UP)}
    if not stored or wanted != set(stored) or not names <= set(layers):
        some = sorted((wanted ^ set(stored)) | (names - set(layers)))[:3]
        raise CheckpointRefused(f"{WEIGHTS} does not fit the base: {some}")
    parts: dict[str, _LowRank] = {}
    for name in names:
        down, up = (stored[f"{PREFIX}{name}{part}"].float() for part in (DOWN, UP))
        shapes = ((config.rank, layers[name].in_features), (layers[name].out_features, config.rank))
        if (tuple(down.shape), tuple(up.shape)) != shapes:
            raise CheckpointRefused(f"{WEIGHTS}: {name} has other shapes than the base: {shapes}")
        if not bool(torch.isfinite(down).all() and torch.isfinite(up).all()):
            raise CheckpointRefused(f"{WEIGHTS}: {name} is not finite: the run diverged")
        parts[name] = _LowRank(down=owned(down), up=config.scale * up)
    return Adapter(parts)


def _linears(base: PreTrainedModel) -> dict[str, nn.Linear]:
    """The layers that can be adapted, by name: all linear ones but the output layer."""
    head = base.get_output_embeddings()
    every = base.named_modules()
    return {name: each for name, each in every if isinstance(each, nn.Linear) and each is not head}


def _of(parts: Mapping[str, _LowRank], index: int, names: Sequence[str]) -> list[_LowRank | None]:
    """The parts of some layers of one block."""
    return [parts.get(_place(index, name)) for name in names]


def _beside(
    matrix: Matrix, found: Sequence[_LowRank | None], *, widths: Sequence[int] = (0,)
) -> Matrix:
    """The matrix of layers side by side with the parts of those that are adapted."""
    parts = [part for part in found if part is not None]
    if not parts:
        return matrix
    if len(found) == 1:
        return _Adapted(matrix, down=parts[0].down, up=parts[0].up)
    blocks, offset, rows = [], 0, 0  # each part writes its own layer's outputs only
    for part, width in zip(found, widths, strict=True):
        if part is not None:
            rank = part.up.shape[1]
            blocks.append((offset, rows, part.up))
            rows += rank
        offset += width
    up = parts[0].up.new_zeros(offset, rows)
    for start, column, block in blocks:
        up[start : start + block.shape[0], column : column + block.shape[1]] = block
    return _Adapted(matrix, down=torch.cat([part.down for part in parts]), up=up)


def _place(index: int, name: str) -> str:
    part = "self_attn" if name in ATTENTION else "mlp"
    return f"model.layers.{index}.{part}.{name}"


def _widths(base: LlamaBody) -> tuple[int, int, int]:
    """Outputs of the query, key and value layers."""
    width, heads = base.shape.width, base.shape.heads
    return base.heads * width, heads * width, heads * width


class _Adapted:
    """A matrix W as W + B A: x W + (x A) B, without ever making the sum."""

    def __init__(self, matrix: Matrix, *, down: Tensor, up: Tensor) -> None:
        """down (R, I), up (O, R)."""
        self._matrix = matrix
        self._down = down.t().contiguous()
        self._up = up.t().contiguous()

    def __call__(self, x: Tensor) -> Tensor:
        return torch.addmm(self._matrix(x), x @ self._down, self._up)

    def added_to(self, other: Tensor, x: Tensor) -> Tensor:
        return torch.addmm(self._matrix.added_to(other, x), x @ self._down, self._up)

    def silu(self, x: Tensor) -> Tensor:
        return F.silu(self(x))

    def times(self, other: Tensor, x: Tensor) -> Tensor:
        return self(x) * other
