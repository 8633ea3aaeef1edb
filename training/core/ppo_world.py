"""What a PPO run reads: policy, frozen reference, rankers and prompts.

It does not know the algorithm.
"""

from dataclasses import dataclass
from pathlib import Path

import torch

from modelserving.core.adapters import is_adapter, whole_weights
from modelserving.lm.attention import without_dropout
from modelserving.lm.fused_norm import fuse_norms
from modelserving.lm.loading import LoadedModel, load_language_model, load_preference_model
from modelserving.lm.packed_llama import leave_to_transformers
from training.config import PPOConfig
from training.config.common import require_objectives
from training.core.batching import EncodedComparison
from training.core.ppo_learner import critic_is_ranker
from training.core.preference_sets import held_out_comparisons
from training.core.prompts import (
    Prompt,
    PromptMixture,
    cut_prompts,
    file_prompts,
    held_out_prompts,
    release_prompts,
    require_positions,
    written_prompts,
)
from training.core.run_directory import InputRefused, RunDirectory
from training.core.sharding import loading, shard, whole

WRITTEN_AT_MOST = 512  # prompts the model writes once, at the start


@dataclass(frozen=True, kw_only=True)
class World:
    """Everything around the learner."""

    policy: LoadedModel
    reference: LoadedModel
    ranker: LoadedModel
    test_ranker: LoadedModel | None
    mixture: PromptMixture
    held_out: list[Prompt]
    held_out_comparisons: list[EncodedComparison]
    counts: dict[str, int]
    initial_directory: Path


def open_world(run: RunDirectory, *, config: PPOConfig, device: torch.device) -> World:
    """Verify and load every input of the run."""
    if config.stop_on_divergence > 0 and not run.has_input("test_pm"):
        raise InputRefused(
            f"stop_on_divergence is {config.stop_on_divergence:g}, which compares with a second preference model: "
            "give the run a test_pm, or set it to 0"
        )
    policy, reference, ranker, test_ranker = _read_models(run, config=config, device=device)
    readers = [policy, ranker] if critic_is_ranker(policy, ranker, config=config) else [policy]
    require_positions(
        *readers, prompt=config.max_prompt_tokens, response=config.max_response_tokens
    )
    training, held_out = _read_prompts(run, policy=policy, config=config)
    written = _written(reference, training, config=config)
    counts = {"training": len(training), "written": len(written), "held_out": len(held_out)}
    return World(
        policy=policy,
        reference=reference,
        ranker=ranker,
        test_ranker=test_ranker,
        mixture=PromptMixture(
            training,
            weights=config.objective_weights,
            seed=config.seed,
            written=written,
            written_share=config.few_shot_prompts,
        ),
        held_out=held_out,
        held_out_comparisons=held_out_comparisons(
            run.inputs("release"),
            encoder=policy.tokenizer,
            layout=policy.dialogue_format,
            most=config.held_out_comparisons,
        ),
        counts=counts | {"cut_from_the_left": cut_prompts([*training, *written, *held_out])},
        initial_directory=whole_weights(run.inputs("initial")),
    )


def _read_prompts(
    run: RunDirectory, *, policy: LoadedModel, config: PPOConfig
) -> tuple[list[Prompt], list[Prompt]]:
    """Prompts to train on and held-out ones, which share no opening."""
    encoding = {
        "encoder": policy.tokenizer,
        "layout": policy.dialogue_format,
        "room": config.max_prompt_tokens,
    }
    release = run.inputs("release")
    training = release_prompts(release, "train", **encoding)
    if run.has_input("prompts"):
        training += file_prompts(run.inputs("prompts"), **encoding)
    require_objectives(
        name="objective_weights",
        asked=config.objective_weights,
        found={prompt.objective for prompt in training},
    )
    test = release_prompts(release, "test", **encoding)
    held_out = held_out_prompts(  # of what is trained on: the gain is measured on it
        [prompt for prompt in test if config.objective_weights.get(prompt.objective) != 0],
        count=config.held_out_prompts,
        training=training,
    )
    return training, held_out


def _written(reference: LoadedModel, training: list[Prompt], *, config: PPOConfig) -> list[Prompt]:
    """Prompts by the model itself, where some are wanted."""
    if config.few_shot_prompts == 0:
        return []
    count = min(WRITTEN_AT_MOST, config.steps * config.batch_prompts)
    with whole(reference.model):
        return written_prompts(
            reference, training, count=count, room=config.max_prompt_tokens, seed=config.seed
        )


def _read_models(
    run: RunDirectory, *, config: PPOConfig, device: torch.device
) -> tuple[LoadedModel, LoadedModel, LoadedModel, LoadedModel | None]:
    """Policy, frozen reference, ranker and held-out ranker; only the policy learns."""
    initial = run.inputs("initial")
    if config.lora.publish == "adapter" and is_adapter(initial):
        raise InputRefused(
            "the initial checkpoint is an adapter, and an adapter of an adapter is not served: "
            "set lora.publish to merged, or start from whole weights"
        )
    trained, read = (loading(config, ranks=run.ranks, is_trained=each) for each in (True, False))
    policy, reference = (
        load_language_model(initial, **trained),
        load_language_model(initial, **read),
    )
    ranker = load_preference_model(run.inputs("ranker"), **read)
    test_ranker = None
    if run.has_input("test_pm"):
        test_ranker = load_preference_model(run.inputs("test_pm"), **read)
    models = [each.model for each in (policy, reference, ranker, test_ranker) if each is not None]
    for model in models if device.type == "cpu" else ():
        fuse_norms(model)
    for frozen in models[1:]:
        frozen.requires_grad_(requires_grad=False).eval()
    without_dropout(policy.model)  # it would move the ratio
    if config.lora.rank > 0:  # KL is 0 at the start, not nearly
        leave_to_transformers(reference.model.base_model)
    if config.activation_checkpointing:
        policy.model.train()
        policy.model.activation_checkpointing_enable({"use_reentrant": False})
    for model in models[1:2] + models[3:]:  # the ranker stays whole until the critic has its copy
        shard(model, config=config, ranks=run.ranks)
    return policy, reference, ranker, test_ranker
