"""Learning rates of preference models and PPO as shares of their peak.

It does not know optimizers.
"""

import math

from training.config.common import Schedule


def rate_share(schedule: Schedule, *, step: int, total: int, warmup_steps: int) -> float:
    """Share of the peak learning rate at `step` (from 0): linear warm-up, then the schedule."""
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    if schedule == "constant":
        return 1.0
    progress = (step - warmup_steps) / max(total - warmup_steps, 1)
    return 1.0 - progress if schedule == "linear" else 0.5 * (1.0 + math.cos(math.pi * progress))


def halved(*, step: int, halve_every: int) -> float:
    """Share that is left when the rate halves every so many optimizer steps; 0: never."""
    return 0.5 ** (step // halve_every) if halve_every else 1.0
