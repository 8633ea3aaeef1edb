"""How often a policy in training finds the chosen response likelier than the rejected one (Bai et al. 2022, B.3, fig. 34).

It does not know how the policy is trained.
"""

from collections.abc import Mapping
from dataclasses import replace

from torch import nn

from training.core.distributed import Ranks
from training.core.evaluation.policies import mean_logprobs
from training.core.ppo_world import World
from training.core.sharding import whole

SHARE = "held_out/logprob_accuracy"


def likelihood_metrics(world: World, *, model: nn.Module, ranks: Ranks) -> Mapping[str, float]:
    """The share of the held-out comparisons, and of each objective's, by mean log-probability per token."""
    with whole(model):
        pairs = mean_logprobs(
            replace(world.policy, model=model), world.held_out_comparisons, ranks=ranks
        )
    parts: dict[str, list[float]] = {}
    for comparison, (chosen, rejected) in zip(world.held_out_comparisons, pairs, strict=True):
        right = float(chosen > rejected)
        for name in (SHARE, f"{SHARE}_{comparison.objective}"):
            parts.setdefault(name, []).append(right)
    return {name: sum(part) / len(part) for name, part in parts.items()}
