"""Which token of a packed row may look at which: the one rule of all its attention.

It does not know trees' bounds or how they are multiplied.
"""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Visibility:
    """Token q may look at token k exactly when k <= q < subtree_end[k], and within the window."""

    subtree_end: Tensor  # (T,)
    positions: Tensor  # (T,) along the branch
    window: int | None

    def allowed(self, *, query: Tensor, key: Tensor) -> Tensor:
        """Row indices query (…, M, 1) and key (…, 1, N), which may run past the row → (…, M, N)."""
        last = len(self.subtree_end) - 1
        seen = (key <= query) & (query < self.subtree_end[key.clamp(max=last)])
        if self.window is None:
            return seen
        distance = self.positions[query.clamp(max=last)] - self.positions[key.clamp(max=last)]
        return seen & (distance < self.window)
