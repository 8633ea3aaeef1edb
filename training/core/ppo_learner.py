"""What PPO trains: the policy, its critic, their master weights and optimizers.

It does not know rollouts, rewards or runs.
"""

import copy
import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from modelserving.lm.attention import without_dropout
from modelserving.lm.loading import LoadedModel
from modelserving.lm.preference_model import from_language_model
from modelserving.lm.threads import threads_for
from training.config import PPOConfig
from training.core.distributed import Ranks, fill_missing_gradients
from training.core.learning_rates import halved, rate_share
from training.core.lora import add_adapters, merged
from training.core.master_weights import MasterWeights, Optimizers
from training.core.outcome import NonFinite
from training.core.sharding import gathered, is_cut, shard
from training.core.token_numbers import ValueReader

ALONE = Ranks()


class Learner:
    """Policy and critic with one AdamW each; the critic's gradients never reach a separate policy."""

    def __init__(
        self,
        policy: LoadedModel,
        *,
        ranker: LoadedModel,
        config: PPOConfig,
        ranks: Ranks = ALONE,
    ) -> None:
        self._ranks = ranks
        self.value = _critic(policy, ranker=ranker, config=config, ranks=ranks)
        self.policy = without_dropout(
            add_adapters(policy.model, config=config.lora, seed=config.seed)
        )
        self._config = config
        self.updates = 0
        shard(self.policy, config=config, ranks=ranks)
        critic_parts = nn.ModuleDict({"head": shard(self.value.head, config=config, ranks=ranks)})
        if self.value.network is not None:
            shard(self.value.network, config=config, ranks=ranks)
            critic_parts["network"] = self.value.network.base_model
        self._members = {
            "policy": self._member(self.policy, learning_rate=config.learning_rate),
            "value": self._member(critic_parts, learning_rate=config.value_learning_rate),
        }

    def _member(
        self, module: nn.Module, *, learning_rate: float
    ) -> tuple[MasterWeights, Optimizers]:
        master = MasterWeights(module)
        adam = torch.optim.AdamW(
            list(master.parameters.values()),
            betas=(0.9, 0.95),
            eps=self._config.adam_epsilon,
            weight_decay=0.0,
            fused=True,
        )
        return master, Optimizers(members=((adam, learning_rate),))

    def learning_rate(self, *, at_step: int) -> float:
        """The policy's rate: warm-up over rollouts, halving by optimizer steps."""
        return self._config.learning_rate * self._fraction(at_step)

    def _fraction(self, at_step: int) -> float:
        config = self._config
        warm = rate_share(
            "constant", step=at_step, total=config.steps, warmup_steps=config.warmup_steps
        )
        return warm * halved(step=self.updates, halve_every=config.halve_every)

    def step(self, *, at_step: int) -> float:
        """Clip each network's gradient, update both; returns the policy's norm before clipping."""
        limit = self._config.max_gradient_norm
        norms: dict[str, float] = {}
        for name, (master, _) in self._members.items():
            master.take_gradients()
            if self._ranks.world > 1:  # a rank without a row here takes part in the sum
                fill_missing_gradients(master.parameters.values())
                self._ranks.sum_gradients(master.parameters.values())
            norms[name] = master.clip(max_norm=limit)
        for name, norm in norms.items():
            if not math.isfinite(norm):
                raise NonFinite(f"the {name} gradient", step=at_step)
        for master, optimizers in self._members.values():
            optimizers.step(fraction=self._fraction(at_step))
            master.give_back()
        self.updates += 1
        return norms["policy"]

    def policy_weights(self) -> dict[str, Tensor]:
        """Float32 weights of the policy, by published name; whole on rank 0, and every rank takes part."""
        return merged(self.trained_weights(), config=self._config.lora)

    def trained_weights(self) -> dict[str, Tensor]:
        """The same by their names in training, adapters apart."""
        return gathered(self._members["policy"][0].parameters, ranks=self._ranks)

    @property
    def threads(self) -> int:
        """How many packed rows its networks read side by side."""
        networks = (
            [self.policy] if self.value.network is None else [self.policy, self.value.network]
        )
        return min(threads_for(each) for each in networks)

    def parameters(self) -> list[nn.Parameter]:
        """Those of the networks themselves."""
        return [
            each for module in (self.policy, *self.value.modules) for each in module.parameters()
        ]

    @property
    def trained(self) -> int:
        """How many numbers learn."""
        return sum(master.trained for master, _ in self._members.values())

    @property
    def checkpoint_bytes(self) -> int:
        """Size of a checkpoint, at most."""
        return sum(master.checkpoint_bytes for master, _ in self._members.values())

    def tensors(self) -> dict[str, Tensor]:
        """Masters and optimizer states for a resume state; whole on rank 0, and every rank takes part."""
        named = {
            f"{name}.{key}": tensor
            for name, (master, optimizers) in self._members.items()
            for key, tensor in (master.tensors() | optimizers.tensors()).items()
        }
        return gathered(named, ranks=self._ranks)

    def restore(self, tensors: Mapping[str, Tensor], *, updates: int) -> None:
        """Put everything back."""
        self.updates = updates
        for name, (master, optimizers) in self._members.items():
            prefix = f"{name}."
            own = {
                key.removeprefix(prefix): each
                for key, each in tensors.items()
                if key.startswith(prefix)
            }
            master.restore(own)
            optimizers.restore(own)


def critic_is_ranker(policy: LoadedModel, ranker: LoadedModel, *, config: PPOConfig) -> bool:
    """Whether the value network begins as a copy of the ranker: it has one, and both read the same tokens."""
    is_separate = config.value_network == "separate"
    return is_separate and ranker.tokenizer.to_json() == policy.tokenizer.to_json()


def _critic(
    policy: LoadedModel, *, ranker: LoadedModel, config: PPOConfig, ranks: Ranks
) -> ValueReader:
    """A zero head on the policy's trunk, or a network of its own that starts from the ranker.

    The ranker's weights serve only where it reads the same tokens; else the critic starts as the policy.
    """
    hidden = policy.model.config.hidden_size
    if config.value_network == "shared":
        return ValueReader(head=_zero_head(hidden, like=policy.model), network=None)
    if critic_is_ranker(policy, ranker, config=config):
        network = copy.deepcopy(ranker.model)
    else:
        network = from_language_model(policy.model, seed=config.seed)
    if is_cut(config, ranks):
        network.float()  # its pieces are its masters, as the policy's are
    without_dropout(network).requires_grad_(requires_grad=True)
    if config.activation_checkpointing:
        network.train()  # else nothing is checkpointed
        network.activation_checkpointing_enable({"use_reentrant": False})
    head = _zero_head(network.config.hidden_size, like=network)
    return ValueReader(head=head, network=network)


def _zero_head(hidden: int, *, like: nn.Module) -> nn.Linear:
    parameter = next(like.parameters())
    head = nn.Linear(hidden, 1, device=parameter.device, dtype=parameter.dtype)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    return head
