"""Where keys and values live while text is sampled: lines of one or two samples, one tensor per prompt.

A line holds a prompt and behind it blocks of own tokens, in which its samples take turns: the places of
the same token of both differ by whole blocks, so that sums over places come out the same bit for bit.
Does not know the model's architecture beyond its shapes, nor whose samples they are.
Legend: L layers, N lines, S tokens of room, G key/value heads, D head width.
"""

import copy
import itertools
from dataclasses import dataclass

import torch
from torch import Tensor

ROOM_STEP = 64  # lines grow by so many tokens at a time
LINE_STEP = 8  # and so many lines at a time: each growth copies everything
OWN_BLOCK = 32  # own tokens of one sample next to each other


def own_place(seat: int, *, prompt: int, token: int, seats: int) -> int:
    """Where own token number `token` of a sample stands in its line."""
    block, rest = divmod(token, OWN_BLOCK)
    return prompt + (block * seats + seat) * OWN_BLOCK + rest


def own_room(tokens: int, *, seats: int) -> int:
    """Room for so many own tokens of each sample."""
    return -(-tokens // OWN_BLOCK) * OWN_BLOCK * seats


@dataclass(frozen=True, kw_only=True)
class KeyValueShape:
    """What one token leaves behind in each layer."""

    layers: int
    heads: int
    width: int
    dtype: torch.dtype
    device: torch.device

    @property
    def bytes_per_token(self) -> int:
        """Keys and values of all layers."""
        return 2 * self.layers * self.heads * self.width * self.dtype.itemsize

    def empty(self, *leading: int, tokens: int) -> Tensor:
        """Room of shape (*leading, G, tokens, D) that is written before it is read."""
        size = (*leading, self.heads, tokens, self.width)
        return torch.empty(size, dtype=self.dtype, device=self.device)

    def zeros(self, *leading: int, tokens: int) -> Tensor:
        """Room of shape (*leading, G, tokens, D) that is safe to attend to under a mask."""
        size = (*leading, self.heads, tokens, self.width)
        return torch.zeros(size, dtype=self.dtype, device=self.device)


class PromptKeyValues:
    """Keys and values of one prompt, filled from the left: (2, L, G, tokens, D)."""

    def __init__(self, *, shape: KeyValueShape, tokens: int) -> None:
        """Room for a prompt of `tokens` tokens."""
        self.values = shape.empty(2, shape.layers, tokens=tokens)
        self.filled = 0

    def append(self, *, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Store (G, C, D) behind what is there; all keys and values of the layer so far."""
        end = self.filled + keys.shape[1]
        self.values[0, layer, :, self.filled : end] = keys
        self.values[1, layer, :, self.filled : end] = values
        return self.values[0, layer, :, :end], self.values[1, layer, :, :end]

    def widened(self) -> "PromptKeyValues":
        """The same in float32, for code that reads nothing else."""
        if self.values.dtype == torch.float32:
            return self
        wide = copy.copy(self)
        wide.values = self.values.float()
        return wide

    def take(self, block: Tensor) -> None:
        """Copy a block (2, L, G, C, D) that was read before behind what is there."""
        end = self.filled + block.shape[3]
        self.values[:, :, :, self.filled : end] = block
        self.filled = end


class Slots:
    """Keys and values of all running samples: per layer twice (N, G, S, D)."""

    def __init__(self, *, shape: KeyValueShape, seats: int) -> None:
        """No line yet: room is made as samples arrive."""
        self.shape = shape
        self.seats = seats
        self.lines = 0
        self.room = 0
        self._stores = [(shape.zeros(0, tokens=0),) * 2 for _ in range(shape.layers)]

    @property
    def bytes_used(self) -> int:
        """Memory held by all lines."""
        return self.lines * self.room * self.shape.bytes_per_token

    def layer(self, index: int) -> tuple[Tensor, Tensor]:
        """Keys and values of one layer, each (N, G, S, D)."""
        return self._stores[index]

    def make_room(self, *, lines: int, tokens: int) -> None:
        """Grow to at least this many lines of this many tokens; never shrinks.

        Lines that must grow do so by a quarter at least, as each growth copies everything. One layer grows after
        another: only its old numbers stand beside the new ones.
        """
        if lines <= self.lines and tokens <= self.room:
            return
        lines, room = self._grown_to(lines, tokens)
        for index, (keys, values) in enumerate(self._stores):
            self._stores[index] = self._grown(keys, lines, room), self._grown(values, lines, room)
        self.lines, self.room = lines, room

    def bytes_with(self, *, lines: int, tokens: int) -> int:
        """Memory held by all lines once there is this room."""
        lines, room = self._grown_to(lines, tokens)
        return lines * room * self.shape.bytes_per_token

    def _grown_to(self, lines: int, tokens: int) -> tuple[int, int]:
        if tokens > self.room:
            tokens = max(tokens, self.room * 5 // 4)
        room = max(self.room, -(-tokens // ROOM_STEP) * ROOM_STEP)
        return max(self.lines, -(-lines // LINE_STEP) * LINE_STEP), room

    def _grown(self, old: Tensor, lines: int, room: int) -> Tensor:
        new = self.shape.zeros(lines, tokens=room)
        new[: self.lines, :, : self.room] = old
        return new

    def start(self, *, line: int, prompt: PromptKeyValues) -> None:
        """Copy a prompt into a line, and forget what another sample left behind it."""
        for index, (keys, values) in enumerate(self._stores):
            keys[line, :, : prompt.filled] = prompt.values[0, index, :, : prompt.filled]
            values[line, :, : prompt.filled] = prompt.values[1, index, :, : prompt.filled]
            keys[line, :, prompt.filled :] = (
                0.0  # under a mask, too, what is no number spoils the sum
            )
            values[line, :, prompt.filled :] = 0.0

    def move(self, *, source: int, target: int, tokens: int) -> None:
        """Copy one line over another and forget what lies behind, so that the lines in use stay together."""
        for store in itertools.chain(*self._stores):
            store[target, :, :tokens] = store[source, :, :tokens]
            store[target, :, tokens:] = 0.0  # as in `start`
