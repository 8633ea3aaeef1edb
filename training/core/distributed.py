"""Several processes training as one, under torchrun: sum gradients, agree on when to halt.

It does not know the model or the loss; without torchrun it is one process and does nothing.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.tensor import DTensor


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """This process among its peers; rank 0 writes the files."""

    rank: int = 0
    world: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and logs."""
        return self.rank == 0

    def share(self, rows: int) -> slice:
        """The rows of a batch that this process computes."""
        if rows % self.world:
            raise ValueError(f"{rows} rows do not divide among {self.world} processes")
        each = rows // self.world
        return slice(self.rank * each, (self.rank + 1) * each)

    def sum_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Replace every gradient by its sum over the processes, in one message; those in pieces are sums already."""
        if self.world == 1:
            return
        found = [p.grad for p in parameters if p.grad is not None]
        gradients = [gradient for gradient in found if not isinstance(gradient, DTensor)]
        if not gradients:
            return
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(flat)
        offset = 0
        for gradient in gradients:
            size = gradient.numel()
            gradient.copy_(flat[offset : offset + size].view_as(gradient))
            offset += size

    def sum(self, value: float) -> float:
        """Sum of a number over the processes."""
        if self.world == 1:
            return value
        total = torch.tensor([value], dtype=torch.float64)
        dist.all_reduce(total)
        return float(total)

    def sum_tensor(self, tensor: Tensor) -> Tensor:
        """The tensor summed over the processes, in place; tables that each filled in part become whole."""
        if self.world > 1:
            dist.all_reduce(tensor)
        return tensor

    def largest(self, value: float) -> float:
        """The largest of the processes' numbers."""
        if self.world == 1:
            return value
        found = torch.tensor(value, dtype=torch.float64)
        dist.all_reduce(found, op=dist.ReduceOp.MAX)
        return float(found)

    def most(self, count: int) -> int:
        """The largest of the processes' counts."""
        return int(self.largest(count))

    def from_main(self, values: list[float]) -> list[float]:
        """Rank 0's numbers, the same on every process: what decides must not differ."""
        if self.world == 1:
            return values
        told = torch.tensor(values, dtype=torch.float64)
        dist.broadcast(told, src=0)
        return [float(value) for value in told]

    def wait(self) -> None:
        """Return when every process is here."""
        if self.world > 1:
            dist.barrier()


def fill_missing_gradients(parameters: Iterable[Tensor]) -> None:
    """Zeros where a process had nothing to compute: it still takes part in the sum of what is trained."""
    for parameter in parameters:
        if parameter.requires_grad and parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter, dtype=parameter.grad_dtype)


def join_ranks() -> Ranks:
    """Join the processes that torchrun started; a plain process is alone."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        return Ranks()
    if not dist.is_initialized():
        # gradients on GPUs travel by NCCL, counts and tables by gloo
        dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
    return Ranks(rank=dist.get_rank(), world=world)
