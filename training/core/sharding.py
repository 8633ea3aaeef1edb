"""Weights, gradients and optimizer state in one piece per process (FSDP2), and whole again where they are read.

It does not know losses, runs or files. A model that is only read (sampling, scoring, evaluation) is gathered for that
long, in its own precision; training gathers one block at a time. With one process nothing is cut.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from modelserving.lm.packed_llama import leave_to_transformers
from training.config import RunConfig
from training.core.distributed import Ranks
from training.core.seeding import device_of, precision_of


def is_cut(config: RunConfig, ranks: Ranks) -> bool:
    """Whether this run's models lie in pieces."""
    return config.sharding == "full" and ranks.world > 1


def loading(config: RunConfig, *, ranks: Ranks, is_trained: bool) -> dict[str, Any]:
    """Data type and device to load a model with.

    One to be cut waits in the host's memory; what is trained keeps its float32 there, for it has no other master.
    """
    device = device_of(config)
    dtype = precision_of(config, device=device)
    if not is_cut(config, ranks):
        return {"dtype": dtype, "device": device}
    return {"dtype": torch.float32 if is_trained else dtype, "device": "cpu"}


def placed(model: nn.Module, *, dtype: torch.dtype, device: torch.device | str) -> nn.Module:
    """The model on a device, its parameters in a precision; buffers keep theirs, as in a model that was loaded so.

    Rotary frequencies are buffers: rounded to bfloat16 they turn a position of 1,024 by up to half a radian too far.
    """
    model.to(device)
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype)
    return model


def shard(module: nn.Module, *, config: RunConfig, ranks: Ranks) -> nn.Module:
    """Keep this process's piece of every parameter; gradients come out summed over the processes, in float32."""
    if not is_cut(config, ranks):
        return module
    device = device_of(config)
    mesh = init_device_mesh(device.type, (ranks.world,))
    precision = MixedPrecisionPolicy(
        param_dtype=precision_of(config, device=device), reduce_dtype=torch.float32
    )
    _untie(module)
    for each in blocks_of(module):
        fully_shard(each, mesh=mesh, mp_policy=precision, reshard_after_forward=True)
    for each in _roots(module):
        fully_shard(each, mesh=mesh, mp_policy=precision, reshard_after_forward=False)
    for each in _parts(module):
        each.set_gradient_divide_factor(1.0)  # the loss is divided by the whole batch already
        each.set_force_sum_reduction_for_comms(enable=True)
    return module


def blocks_of(module: nn.Module) -> list[nn.Module]:
    """The blocks of a model's stack, each gathered by itself; none of a plain layer."""
    backbone = getattr(module, "base_model", module)
    return [
        block
        for child in backbone.children()
        if isinstance(child, nn.ModuleList)
        for block in child
    ]


def _roots(module: nn.Module) -> list[nn.Module]:
    """What is called from outside: the backbone, and every head; or a plain layer itself."""
    backbone = getattr(module, "base_model", module)
    if backbone is module:
        return [module]
    leave_to_transformers(backbone)  # hand-written blocks read weights that must be there
    heads = [child for child in module.children() if child is not backbone]
    return [backbone, *(head for head in heads if any(True for _ in head.parameters()))]


def _parts(*modules: nn.Module) -> list[Any]:
    return [each for module in modules for each in module.modules() if isinstance(each, FSDPModule)]


def _untie(module: Any) -> None:
    """Let a head that is the embedding read it there, where it is gathered and its gradient summed."""
    head = getattr(module, "lm_head", None)
    embedding = module.get_input_embeddings() if head is not None else None
    if head is not None and embedding is not None and head.weight is embedding.weight:
        module.lm_head = TiedHead(embedding)


class TiedHead(nn.Module):
    """An output layer without weights of its own."""

    bias = None

    def __init__(self, embedding: nn.Module) -> None:
        super().__init__()
        self._embedding = (
            embedding,
        )  # in a tuple: no module of this one, so that it is listed once

    @property
    def weight(self) -> Any:
        """The embedding's (V, H)."""
        return self._embedding[0].weight

    def forward(self, hidden: Tensor) -> Tensor:
        """(…, H) → (…, V)."""
        return nn.functional.linear(hidden, self.weight)


@contextmanager
def whole(*modules: nn.Module) -> Iterator[None]:
    """Gather these models for reading alone: inside, processes may call them as often as each likes."""
    parts = _parts(*modules)
    blocks = {id(block) for module in modules for block in blocks_of(module)}
    for each in parts:
        each.set_reshard_after_forward(reshard_after_forward=False, recurse=False)
        each.unshard()
    try:
        yield
    finally:
        for each in parts:
            each.reshard()
            is_block = id(each) in blocks
            each.set_reshard_after_forward(reshard_after_forward=is_block, recurse=False)


def idle_passes(module: nn.Module, *, rows: int, ranks: Ranks) -> int:
    """How many passes beyond its rows this process owes its peers: all must gather equally often. Asked before the first."""
    return ranks.most(rows) - rows if _parts(module) else 0


def gathered(tensors: Mapping[str, Tensor], *, ranks: Ranks) -> dict[str, Tensor]:
    """Whole tensors on rank 0, one after another, and nothing on the others; every rank takes part."""
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        complete = tensor.full_tensor().cpu() if isinstance(tensor, DTensor) else tensor
        if ranks.is_main:
            found[name] = complete.detach()
    return found


def own_part(complete: Tensor, *, like: Tensor) -> Tensor:
    """This process's piece of a tensor that every process has, cut as another is."""
    if not isinstance(like, DTensor):
        return complete
    mesh = like.device_mesh
    there = complete.to(mesh.device_type)
    return distribute_tensor(there, mesh, like.placements, src_data_rank=None)
