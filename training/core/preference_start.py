"""Where a preference model starts from, and the constant that centres its scores.

It does not know training steps or files of a run beyond its inputs.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import nn

from modelserving.core.artifacts import read_manifest
from modelserving.lm.attention import without_dropout
from modelserving.lm.fused_norm import fuse_norms
from modelserving.lm.loading import LoadedModel, load_language_model, load_preference_model
from modelserving.lm.preference_model import from_language_model, score_token_sequences
from training.config import PreferenceModelConfig, PreferencePretrainingConfig
from training.core.batching import EncodedComparison
from training.core.lora import add_adapters
from training.core.preference_sets import stable_order
from training.core.run_directory import RunDirectory
from training.core.sharding import loading, shard, whole


def initial_preference_model(
    run: RunDirectory,
    *,
    config: PreferenceModelConfig | PreferencePretrainingConfig,
    device: torch.device,
) -> LoadedModel:
    """The initial checkpoint under a score head: its own where it is a preference model, else a fresh one."""
    directory = run.inputs("initial")
    how = loading(config, ranks=run.ranks, is_trained=True)
    if read_manifest(directory).kind == "preference_model":
        loaded = load_preference_model(directory, **how)
        model = loaded.model
    else:
        loaded = load_language_model(directory, **how)
        model = from_language_model(loaded.model, seed=config.seed)
    without_dropout(model).train()
    if device.type == "cpu":
        fuse_norms(model)
    add_adapters(model, config=config.lora, seed=config.seed, also_train=("score",))
    if config.activation_checkpointing:
        model.activation_checkpointing_enable({"use_reentrant": False})
    shard(model, config=config, ranks=run.ranks)
    room = min(config.max_tokens, loaded.positions or config.max_tokens)
    layout = replace(loaded.dialogue_format, context_tokens=room, score_center=None)
    return replace(loaded, model=model, dialogue_format=layout)


def score_center(
    model: nn.Module, held_out: Sequence[EncodedComparison], *, dialogues: int
) -> float:
    """Mean raw score over so many held-out responses: subtracting it makes PMs comparable (§3.3).

    They come from all over the file, whose first rows may be of one campaign.
    """
    ordered = sorted(held_out, key=lambda each: stable_order(f"{each.conversation}:{each.turn}"))
    sides = [side for each in ordered for side in (each.chosen, each.rejected)][:dialogues]
    keys = [each.conversation for each in ordered for _ in range(2)][:dialogues]
    with whole(model):
        return float(score_token_sequences(model, sides, keys=keys).mean())
