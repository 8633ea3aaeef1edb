"""Weights in the process's own memory: safetensors only maps its file, and whoever writes there changes the numbers.

A file that shrinks would even kill the process. Does not know checkpoints.
"""

from itertools import chain

from torch import Tensor, nn


def owned(tensor: Tensor) -> Tensor:
    """The tensor, or a copy of one whose memory is not torch's own."""
    return tensor if tensor.untyped_storage().resizable() else tensor.clone()


def own(model: nn.Module) -> None:
    """Copy what still lies in a file, one tensor after another: pages of a file that were read may go again."""
    for each in chain(model.parameters(), model.buffers()):
        each.data = owned(each.data)
