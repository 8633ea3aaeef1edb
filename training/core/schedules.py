"""Learning rates and mixture phases as functions of how far a run has come.

They do not know clocks or steps beyond the numbers given.
"""

import math

from training.config import LanguageModelConfig, MixturePhase


def learning_rate_fraction(config: LanguageModelConfig, *, step: int, progress: float) -> float:
    """Share of the peak learning rate: warm-up by steps, decay by the run's progress 0..1."""
    warm = min(1.0, (step + 1) / config.warmup_steps) if config.warmup_steps else 1.0
    if config.schedule == "constant" or progress <= config.decay_from:
        return warm
    along = min(1.0, (progress - config.decay_from) / max(1e-9, 1.0 - config.decay_from))
    shape = (1 + math.cos(math.pi * along)) / 2 if config.schedule == "cosine" else 1 - along
    low = config.final_learning_rate
    return warm * (low + (1 - low) * shape)


def phase_at(phases: tuple[MixturePhase, ...], *, progress: float) -> MixturePhase:
    """The phase that a point of the run belongs to."""
    return next((phase for phase in phases if progress < phase.until), phases[-1])
