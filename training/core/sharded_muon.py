"""Muon for matrices that lie in pieces: each is gathered, stepped whole, and cut again.

It does not know which matrices, nor how they were cut.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from training.core.sharding import own_part

BUFFER = "momentum_buffer"


class ShardedMuon(torch.optim.Muon):
    """The very step of torch's Muon (Jordan 2024) on each whole matrix; its momentum stays in pieces."""

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Step every matrix that has a gradient."""
        assert closure is None, "the gradient is there already"
        for group in self.param_groups:
            settings = {name: value for name, value in group.items() if name != "params"}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._step(parameter, settings)

    def _step(self, parameter: DTensor, settings: dict[str, Any]) -> None:
        state = self.state[parameter]
        matrix = nn.Parameter(parameter.full_tensor())
        matrix.grad = _whole(parameter.grad)
        alone = torch.optim.Muon([matrix], **settings)
        if BUFFER in state:
            alone.state[matrix] = {BUFFER: _whole(state[BUFFER])}
        alone.step()
        parameter.copy_(own_part(matrix.detach(), like=parameter))
        state[BUFFER] = own_part(alone.state[matrix][BUFFER], like=parameter)


def _whole(tensor: Tensor | None) -> Tensor:
    assert isinstance(tensor, DTensor)
    return tensor.full_tensor()
