"""What a PPO run holds in memory at once, told from its configuration before the first rollout.

It does not know how much there is.
"""

import math

from training.config import PPOConfig
from training.core.ppo_learner import Learner
from training.core.ppo_world import World
from training.core.preflight import WEIGHTS, packed_training_bytes


def ppo_training_bytes(learner: Learner, *, world: World, config: PPOConfig) -> dict[str, int]:
    """Bytes that one update needs, in parts, each by the setting that lowers it; responses are taken at full length."""
    responses = config.samples_per_prompt * config.max_response_tokens
    tree = config.max_prompt_tokens + responses  # of one prompt, and never cut
    prompts = math.ceil(config.batch_prompts / config.minibatches)
    rows = learner.threads * max(config.micro_tokens, tree)
    network = learner.value.network
    learning = [world.policy.model] if network is None else [world.policy.model, network]
    vocabulary = world.policy.config.get_text_config().vocab_size
    needed = packed_training_bytes(
        trained=learner.trained,
        shapes=[each.config for each in learning],
        tokens=min(rows, prompts * tree),
        threads=learner.threads,
        logits=vocabulary * min(rows, prompts * responses),
        keeps_layers=not config.activation_checkpointing,
    )
    needed[WEIGHTS] += 4 * world.policy.model.num_parameters()  # laid out for the sampler
    return needed
