"""How a run ends: the value a trainer returns, and the errors that have an exit code.

It does not know files or processes.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A run's ending; results are headline numbers, each with n and interval where it has one."""

    state: Literal["done", "stopped", "interrupted"]
    step: int
    reason: str = ""
    results: Mapping[str, Any] = field(default_factory=dict)


class NonFinite(ArithmeticError):
    """A loss, gradient or score that is not finite; raised before the optimizer step, or before it is recorded."""

    def __init__(self, what: str, *, step: int) -> None:
        super().__init__(
            f"{what} is not finite at step {step}: training ended there; "
            "lower learning_rate, or look at the input of this step"
        )
        self.step = step


def in_json(content: Any) -> Any:
    """The content with null for each number that JSON has no word for."""
    if isinstance(content, Mapping):
        return {key: in_json(each) for key, each in content.items()}
    if isinstance(content, list | tuple):
        return [in_json(each) for each in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content
