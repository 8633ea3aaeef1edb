"""Keys and values of prompt beginnings that were read before, within a memory bound.

Only whole blocks at fixed places of a prompt are kept, each computed from nothing but the tokens up to its end, so
that what is taken from here is bit for bit what reading again would give. Does not know requests.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

BLOCK = 64  # tokens per block


@dataclass(frozen=True)
class _Place:
    """A block's address: the tokens it holds and the block before it."""

    parent: int
    tokens: tuple[int, ...]


class PrefixCache:
    """Blocks by content, the least recently used ones dropped first."""

    def __init__(self, *, byte_limit: int) -> None:
        """Hold at most `byte_limit` bytes of keys and values."""
        self._byte_limit = byte_limit
        self._blocks: OrderedDict[_Place, tuple[int, Tensor]] = OrderedDict()
        self._next_id = 1
        self.bytes_used = 0
        self.hit_tokens = 0
        self.read_tokens = 0

    def longest(self, tokens: Sequence[int]) -> list[Tensor]:
        """Blocks (2, L, G, BLOCK, D) for the longest known beginning that leaves at least one token to read."""
        found: list[tuple[_Place, Tensor]] = []
        parent = 0
        for start in range(0, len(tokens) - BLOCK, BLOCK):
            place = _Place(parent, tuple(tokens[start : start + BLOCK]))
            entry = self._blocks.get(place)
            if entry is None:
                break
            parent = entry[0]
            found.append((place, entry[1]))
        for place, _ in reversed(found):  # a parent is always fresher than its children
            self._blocks.move_to_end(place)
        self.hit_tokens += len(found) * BLOCK
        self.read_tokens += len(tokens) - len(found) * BLOCK
        return [block for _, block in found]

    def keep(self, *, tokens: Sequence[int], end: int, block: Tensor) -> None:
        """Remember the block that ends at token `end`, if all blocks before it are known."""
        parent = 0
        for start in range(0, end - BLOCK, BLOCK):
            entry = self._blocks.get(_Place(parent, tuple(tokens[start : start + BLOCK])))
            if entry is None:
                return
            parent = entry[0]
        place = _Place(parent, tuple(tokens[end - BLOCK : end]))
        size = block.numel() * block.element_size()
        if place in self._blocks or size > self._byte_limit:
            return
        self._blocks[place] = (self._next_id, block.clone())
        self._next_id += 1
        self.bytes_used += size
        while self.bytes_used > self._byte_limit:
            _, (_, dropped) = self._blocks.popitem(last=False)
            self.bytes_used -= dropped.numel() * dropped.element_size()

    def clear(self) -> None:
        """Forget everything, for instance because the weights changed."""
        self._blocks.clear()
        self.bytes_used = 0
