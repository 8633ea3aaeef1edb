"""How one sample is drawn: its settings, and a random number that depends on the seed and the position alone.

Does not know models, batches or tensors.
"""

from dataclasses import dataclass

MIXING = (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)  # splitmix64
STEP = 0xD1342543DE82EF95  # from one position of a sample to the next
LEAST_TEMPERATURE = 1e-5  # below, logits divided by it leave float32
LEAST_TOP_P = 1e-6  # below, float32 may keep no token at all
_MASK = (1 << 64) - 1


class SamplingError(ValueError):
    """A sampling setting is out of its range; the message names the setting and the range."""


@dataclass(frozen=True, kw_only=True)
class SamplingSettings:
    """What a caller may choose about a sample. `temperature` 0 takes the likeliest token.

    What is too small to compute with becomes the nearest that is not.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    max_tokens: int = 256
    stop: tuple[str, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what no sampler could honour."""
        if not 0.0 <= self.temperature <= 100.0:
            raise SamplingError(f"temperature is {self.temperature}: give a number from 0 to 100")
        if not 0.0 < self.top_p <= 1.0:
            raise SamplingError(f"top_p is {self.top_p}: give a number above 0 and up to 1")
        if self.max_tokens < 0:
            raise SamplingError(f"max_tokens is {self.max_tokens}: give 0 or more")
        if any(not text for text in self.stop):
            raise SamplingError("stop holds an empty text: leave it out")
        if self.temperature < LEAST_TEMPERATURE:
            object.__setattr__(self, "temperature", 0.0)
        object.__setattr__(self, "top_p", max(self.top_p, LEAST_TOP_P))


def mixed(value: int) -> int:
    """The splitmix64 finaliser: a bijection on 64-bit integers that looks random."""
    value = (value + MIXING[0]) & _MASK
    value = ((value ^ (value >> 30)) * MIXING[1]) & _MASK
    value = ((value ^ (value >> 27)) * MIXING[2]) & _MASK
    return value ^ (value >> 31)


def sample_seed(*, seed: int, index: int) -> int:
    """The seed of sample `index` of a request; sample 0 keeps the request's own."""
    return seed if index == 0 else mixed(mixed(seed & _MASK) ^ index) >> 1


def uniform(*, seed: int, position: int) -> float:
    """A number in [0, 1 - 2**-52] for the token at `position` of the sample with this seed."""
    return (mixed(mixed(seed & _MASK) + position * STEP & _MASK) >> 12) / (1 << 52)
