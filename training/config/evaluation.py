"""Configuration of an evaluation run: which checks a checkpoint is put through.

It does not know the checkpoint or the release: inputs.json names those.
"""

from dataclasses import dataclass
from typing import Literal

from training.config.common import RunConfig, require_positive

Suite = Literal[
    "comparisons",
    "elo",
    "logprob_accuracy",
    "response_loss",
    "heldout_score",
    "out_of_distribution",
    "questions",
]


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig(RunConfig):
    """Held-out measurements of one checkpoint."""

    kind: Literal["evaluation"] = "evaluation"
    # empty: all that fit. A preference model: comparisons, elo (where the crowd compared two models).
    # A language model: logprob_accuracy, response_loss, heldout_score (with a ranker), out_of_distribution (with
    # prompts of both objectives). Either: questions (with a question set)
    suites: tuple[Suite, ...] = ()
    max_examples: int = 1000  # per suite; of out_of_distribution per objective and split
    max_response_tokens: int = 128
    batch_size: int = 16
    bootstrap_samples: int = 1000

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(
            max_examples=self.max_examples,
            max_response_tokens=self.max_response_tokens,
            batch_size=self.batch_size,
            bootstrap_samples=self.bootstrap_samples,
        )
