"""What a PPO run reads: policy, frozen reference, rankers and prompts.

It does not know the algorithm.
"""

from dataclasses import dataclass
from pathlib import Path

import torch

from modelserving.lm.attention import without_dropout
from modelserving.lm.fused_norm import fuse_norms
from modelserving.lm.loading import LoadedModel, load_language_model, load_preference_model
from modelserving.lm.packed_llama import leave_to_transformers
from training.config import PPOConfig
from training.core.prompts import (
    Prompt,
    PromptMixture,
    file_prompts,
    held_out_prompts,
    release_prompts,
    written_prompts,
)
from training.core.run_directory import RunDirectory
from training.core.seeding import precision_of

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
    counts: dict[str, int]
    initial_directory: Path


def open_world(run: RunDirectory, *, config: PPOConfig, device: torch.device) -> World:
    """Verify and load every input of the run."""
    policy, reference, ranker, test_ranker = _read_models(run, config=config, device=device)
    encoding = {
        "encoder": policy.tokenizer,
        "layout": policy.dialogue_format,
        "room": config.max_prompt_tokens,
    }
    release = run.inputs("release")
    training = release_prompts(release, "train", **encoding)
    if run.has_input("prompts"):
        training += file_prompts(run.inputs("prompts"), **encoding)
    held_out = held_out_prompts(
        release_prompts(release, "test", **encoding),
        count=config.held_out_prompts,
        training=training,
    )
    written: list[Prompt] = []
    if config.few_shot_prompts > 0:
        count = min(WRITTEN_AT_MOST, config.steps * config.batch_prompts)
        written = written_prompts(
            reference, training, count=count, room=config.max_prompt_tokens, seed=config.seed
        )
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
        counts={"training": len(training), "written": len(written), "held_out": len(held_out)},
        initial_directory=run.inputs("initial"),
    )


def _read_models(
    run: RunDirectory, *, config: PPOConfig, device: torch.device
) -> tuple[LoadedModel, LoadedModel, LoadedModel, LoadedModel | None]:
    """Policy, frozen reference, ranker and held-out ranker; only the policy learns."""
    dtype = precision_of(config, device=device)
    initial = run.inputs("initial")
    policy, reference = (load_language_model(initial, dtype=dtype, device=device) for _ in range(2))
    ranker = load_preference_model(run.inputs("ranker"), dtype=dtype, device=device)
    test_ranker = None
    if run.has_input("test_pm"):
        test_ranker = load_preference_model(run.inputs("test_pm"), dtype=dtype, device=device)
    fuse_norms(policy.model)
    for frozen in (reference, ranker, test_ranker):
        if frozen is not None:
            fuse_norms(frozen.model)
            frozen.model.requires_grad_(requires_grad=False).eval()
    without_dropout(policy.model)  # it would move the ratio
    if config.lora.rank > 0:  # KL is 0 at the start, not nearly
        leave_to_transformers(reference.model.base_model)
    if config.activation_checkpointing:
        policy.model.train()
        policy.model.activation_checkpointing_enable({"use_reentrant": False})
    return policy, reference, ranker, test_ranker
