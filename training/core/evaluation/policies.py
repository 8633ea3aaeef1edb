"""Suites for language models and policies.

It does not know how a run is started or how models are trained.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch

from modelserving.core.sampling import sample_seed
from modelserving.lm.loading import LoadedModel, load_language_model, load_preference_model
from modelserving.lm.policy import ResponseTree, packed_logprobs
from training.config import EvaluationConfig
from training.core.batching import EncodedComparison, balanced_rows
from training.core.distributed import Ranks
from training.core.evaluation.intervals import mean, mean_by, share
from training.core.outcome import NonFinite
from training.core.preference_sets import held_out_comparisons
from training.core.prompts import release_prompts, sample_of
from training.core.rollout import collect, score_rollout
from training.core.run_directory import RunDirectory
from training.core.seeding import prepare
from training.core.sharding import loading, shard, whole

ROW_TOKENS = 4096
ALONE = Ranks()


def load_policy(run: RunDirectory, config: EvaluationConfig) -> LoadedModel:
    """The language model that is put through the suites, seeded and spread over the ranks."""
    prepare(config)
    how = loading(config, ranks=run.ranks, is_trained=False)
    policy = load_language_model(run.inputs("initial"), **how)
    shard(policy.model, config=config, ranks=run.ranks)
    return policy


def _comparisons(
    run: RunDirectory, config: EvaluationConfig, policy: LoadedModel
) -> list[EncodedComparison]:
    return held_out_comparisons(
        run.inputs("release"),
        encoder=policy.tokenizer,
        layout=policy.dialogue_format,
        most=config.max_examples,
    )


@torch.no_grad()
def mean_logprobs(
    policy: LoadedModel, comparisons: Sequence[EncodedComparison], *, ranks: Ranks = ALONE
) -> list[list[float]]:
    """Mean log-probability per response token of both sides: [chosen, rejected], in order; each rank reads its rows."""
    found = torch.zeros(len(comparisons), 2, dtype=torch.float64)
    lengths = [len(each.chosen) + len(each.rejected) for each in comparisons]
    rows = balanced_rows(lengths, row_tokens=ROW_TOKENS)
    for row in rows[ranks.rank :: ranks.world]:
        trees = [_tree(comparisons[i]) for i in row]
        said = packed_logprobs(policy.model, trees, temperature=1.0)
        parts = said.logprobs.split([len(side) for _, sides in trees for side in sides])
        means = [float(part.mean()) for part in parts]
        found[row] = torch.tensor(means, dtype=torch.float64).view(-1, 2)
    return ranks.sum_tensor(found).tolist()


def _tree(comparison: EncodedComparison) -> ResponseTree:
    """Both sides without the token at which preference models score."""
    start = comparison.prompt_tokens
    sides = (comparison.chosen, comparison.rejected)
    return comparison.chosen[:start], [side[start:-1] for side in sides]


def _read(
    run: RunDirectory, policy: LoadedModel, comparisons: Sequence[EncodedComparison]
) -> list[list[float]]:
    with whole(policy.model):
        return mean_logprobs(policy, comparisons, ranks=run.ranks)


def logprob_accuracy(run: RunDirectory, config: EvaluationConfig) -> dict[str, Any]:
    """How often the policy finds the chosen response likelier per token (Bai et al. 2022, B.3)."""
    policy = load_policy(run, config)
    comparisons = _comparisons(run, config, policy)
    pairs = _read(run, policy, comparisons)
    correct = [float(chosen > rejected) for chosen, rejected in pairs]
    parts: dict[str, list[float]] = {}
    for comparison, right in zip(comparisons, correct, strict=True):
        parts.setdefault(comparison.objective, []).append(right)
    return {
        "headline": share(correct),
        "by_objective": {name: share(part) for name, part in sorted(parts.items())},
    }


def response_loss(run: RunDirectory, config: EvaluationConfig) -> dict[str, Any]:
    """Loss per token of the held-out chosen responses given their prompts."""
    policy = load_policy(run, config)
    pairs = _read(run, policy, _comparisons(run, config, policy))
    return {"headline": mean([-chosen for chosen, _ in pairs])}


def heldout_score(run: RunDirectory, config: EvaluationConfig) -> dict[str, Any]:
    """The ranker's mean score of the policy's own responses to held-out prompts."""
    policy = load_policy(run, config)
    how = loading(config, ranks=run.ranks, is_trained=False)
    ranker = load_preference_model(run.inputs("ranker"), **how)
    shard(ranker.model, config=config, ranks=run.ranks)
    context = policy.dialogue_format.context_tokens
    every = release_prompts(
        run.inputs("release"),
        "test",
        encoder=policy.tokenizer,
        layout=policy.dialogue_format,
        room=context - config.max_response_tokens,
    )
    prompts = sample_of(every, count=config.max_examples)
    scores: list[float] = []
    ended: list[float] = []
    for start in range(0, len(prompts), config.batch_size):
        rollout = collect(
            policy,
            prompts[start : start + config.batch_size],
            samples_per_prompt=1,
            max_new_tokens=config.max_response_tokens,
            temperature=1.0,
            seed=sample_seed(seed=config.seed, index=start),
            ranks=run.ranks,
        )
        scores += score_rollout(ranker, rollout, ranks=run.ranks).tolist()
        ended += rollout.ended.float().tolist()
    if not all(map(math.isfinite, scores)):
        raise NonFinite("a score", step=0)
    objectives = [prompt.objective for prompt in prompts]
    headline = mean(scores) | {"by_objective": mean_by(objectives, scores)}
    return {"headline": headline, "ended": share(ended)}
