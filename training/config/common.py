"""What every run kind's configuration shares, and how a wrong value is refused.

It does not know the kinds, nor how a configuration is stored.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["auto", "fastest", "float32", "bfloat16", "int16"]
Sharding = Literal["none", "full"]
Publish = Literal["merged", "adapter"]
Schedule = Literal["constant", "linear", "cosine"]
LARGEST_SEED = 2**32 - 1  # numpy takes no more
OBJECTIVES = ("helpful", "harmless")  # of campaigns; files from elsewhere may bring others


class ConfigError(ValueError):
    """A configuration that cannot run; the message says which number to change."""


def require(condition: object, message: str) -> None:
    """Refuse a configuration unless the condition holds."""
    if not condition:
        raise ConfigError(message)


def require_positive(**values: float) -> None:
    """Each named value must be greater than zero."""
    for name, value in values.items():
        require(value > 0, f"{name} is {value}: set it above 0")


def require_not_negative(**values: float) -> None:
    """Each named value must be zero or more."""
    for name, value in values.items():
        require(value >= 0, f"{name} is {value}: set it to 0 or more")


def require_weights(*, name: str, weights: Mapping[str, float]) -> None:
    """No weight of a named table may be below zero."""
    for key, weight in weights.items():
        require(weight >= 0, f"{name} gives {key} {weight}: set it to 0 or more")


def require_objectives(*, name: str, asked: Iterable[str], found: Iterable[str]) -> None:
    """Refuse unknown objectives: neither in the data nor one of those that campaigns use."""
    known = {*found, *OBJECTIVES}
    for objective in asked:
        require(
            objective in known,
            f"{name} names {objective!r}, which no row has: there are {', '.join(sorted(known))}",
        )


def require_below_one(**values: float) -> None:
    """Each named value must be zero or more, and below one: at one nothing would ever move."""
    for name, value in values.items():
        require(0 <= value < 1, f"{name} is {value}: set it to 0 or more, below 1")


def require_fraction(**values: float) -> None:
    """Each named value must lie in 0..1."""
    for name, value in values.items():
        require(0 <= value <= 1, f"{name} is {value}: set it between 0 and 1")


def require_choice(*, name: str, value: str, choices: tuple[str, ...]) -> None:
    """A named value must be one of the listed words."""
    require(value in choices, f"{name} is {value!r}: set it to one of {', '.join(choices)}")


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Fields of every run kind."""

    seed: int = 0
    threads: int = 2  # CPU threads of the child process
    device: Device = "auto"
    # auto: bfloat16 on a GPU, float32 on a CPU; fastest: bfloat16 on a CPU with instructions for it, too, or int16 on
    # one with AVX2 alone: float32 that preference models and policies like Llama multiply as whole numbers with a scale
    precision: Precision = "auto"
    # under torchrun, full: weights, gradients and optimizer state in one piece per process (FSDP2), for models whose
    # training state does not fit one GPU; none: whole copies, which is faster where they fit
    sharding: Sharding = "none"
    checkpoint_every: int = 100  # steps between checkpoints one can resume from
    keep_checkpoints: int = 2  # resume states kept; the newest verified one is used

    def __post_init__(self) -> None:
        require(
            0 <= self.seed <= LARGEST_SEED,
            f"seed is {self.seed}: set it between 0 and {LARGEST_SEED}",
        )
        require_positive(
            threads=self.threads,
            checkpoint_every=self.checkpoint_every,
            keep_checkpoints=self.keep_checkpoints,
        )
        require_choice(name="device", value=self.device, choices=("auto", "cpu", "cuda"))
        require_choice(name="sharding", value=self.sharding, choices=get_args(Sharding))
        require_choice(name="precision", value=self.precision, choices=get_args(Precision))


@dataclass(frozen=True, kw_only=True)
class LoraConfig:
    """Low-rank adapters instead of full weights; rank 0 trains all weights."""

    rank: int = 0
    alpha: float = 16.0
    target_modules: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj")
    # merged: whole weights, which every engine takes; adapter: a few megabytes that the model server adds to the
    # start's weights, held once for all policies that share it
    publish: Publish = "merged"

    def __post_init__(self) -> None:
        require(self.rank >= 0, f"lora.rank is {self.rank}: set it to 0 (off) or more")
        require_positive(**{"lora.alpha": self.alpha})
        require_choice(name="lora.publish", value=self.publish, choices=get_args(Publish))
        require(
            self.publish == "merged" or self.rank > 0,
            "lora.publish is adapter, but lora.rank is 0: set lora.rank above 0",
        )
