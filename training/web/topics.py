"""Which topic each setting of a run belongs to, so that the New-run form folds what most people never touch.

Knows names of settings; a name that no topic claims stands under the last one.
"""

from collections.abc import Iterable
from typing import Any

from django.utils.translation import gettext_lazy as _

TOPICS: tuple[tuple[Any, str], ...] = (
    (
        _("How much it learns from"),
        (
            "steps epochs batch_comparisons batch_prompts batch_blocks batch_size samples_per_prompt"
            " prompts k sequences max_comparisons max_examples max_minutes max_tokens max_prompt_tokens"
            " max_response_tokens block_tokens sequence_tokens prompt_tokens pairs_per_question"
            " strength strength_margin disjoint_models"
            " few_shot_prompts objectives objective_weights tranches phases form temperature"
        ),
    ),
    (
        _("Learning rate and optimizer"),
        (
            "learning_rate value_learning_rate muon_learning_rate final_learning_rate schedule"
            " warmup_steps decay_from halve_every weight_decay beta1 beta2 adam_epsilon optimizer"
            " max_gradient_norm minibatches inner_epochs accumulation lora"
        ),
    ),
    (
        _("PPO: reward, KL and clipping"),
        (
            "kl_weight adaptive_kl_target adaptive_kl_horizon clip value_clip value_weight"
            " value_network gamma gae_lambda whiten_advantages no_end_penalty normalize_scores"
            " normalization_samples stop_kl stop_on_divergence"
        ),
    ),
    (
        _("What is measured"),
        (
            "evaluate_every held_out_prompts held_out_comparisons held_out_sequences evaluation_blocks center_dialogues"
            " bootstrap_samples suites"
        ),
    ),
    (_("Machine, seed and checkpoints"), ""),
)


def by_topic(settings: Iterable[dict[str, Any]]) -> list[tuple[Any, list[dict[str, Any]]]]:
    """The settings under their topics, in the order given; empty topics are left out."""
    folded: list[list[dict[str, Any]]] = [[] for _topic in TOPICS]
    for setting in settings:
        places = (
            place for place, (_, names) in enumerate(TOPICS) if setting["label"] in names.split()
        )
        folded[next(places, len(TOPICS) - 1)].append(setting)
    return [(title, found) for (title, _names), found in zip(TOPICS, folded, strict=True) if found]
