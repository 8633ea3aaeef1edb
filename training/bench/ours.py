"""One measurement of this project's trainers, as a child process: prints one JSON line.

It does not know the other contestants. `python -m training.bench.ours FOLDER WHAT`
"""

import argparse
import json
import resource
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import LlamaForCausalLM, LlamaForSequenceClassification

from modelserving.core.dialogue import DialogueFormat
from modelserving.lm.attention import common_prefix
from modelserving.lm.fused_norm import fuse_norms
from modelserving.lm.loading import LoadedModel, load_tokenizer
from modelserving.lm.products import multiply_in_int16
from training.bench.workload import HIDDEN, INTERMEDIATE, LAYERS, Workload, load
from training.config import PPOConfig, PreferenceModelConfig
from training.core.batching import EncodedComparison, plan_steps
from training.core.distributed import Ranks
from training.core.master_weights import MasterWeights, Optimizers
from training.core.memory import keep_freed_memory
from training.core.ppo_learner import Learner
from training.core.ppo_targets import targets_of
from training.core.ppo_update import Updates, plan_epoch, rows_to_keep
from training.core.preference_step import accumulate, tree_tokens
from training.core.prompts import Prompt
from training.core.rollout import collect, score_rollout
from training.core.token_numbers import read_back

BATCH = 8  # comparisons a step, as the other side's default
PPO_BATCH, PPO_STEPS, RESPONSE_TOKENS = 16, 4, 64


def preference(folder: Path, *, dtype: torch.dtype) -> dict[str, float]:
    """Pairs per second over one epoch, tokenised beforehand."""
    workload = load(folder)
    model = LlamaForSequenceClassification.from_pretrained(folder / "preference_model", dtype=dtype)
    fuse_norms(model)
    comparisons = [_comparison(index, pair) for index, pair in enumerate(workload.pairs)]
    config = PreferenceModelConfig(batch_comparisons=BATCH, micro_tokens=8192)
    plan = plan_steps(
        [[index] for index in range(len(comparisons))], batch_size=BATCH, epochs=1, seed=0
    )
    master = MasterWeights(model)
    adam = torch.optim.AdamW(list(master.parameters.values()), fused=True)
    optimizers = Optimizers(members=((adam, 1e-5),))
    tokens = 0
    started = time.perf_counter()
    for step, groups in enumerate(plan):
        batch = [[comparisons[index] for index in group] for group in groups]
        tokens += accumulate(model, batch, config=config, step=step).tokens
        master.take_gradients()
        master.clip(max_norm=1.0)
        optimizers.step(fraction=1.0)
        master.give_back()
    seconds = time.perf_counter() - started
    return {
        "pairs_per_second": len(comparisons) / seconds,
        "gflops": 6 * _products(comparisons) / seconds / 1e9,
        "tokens": tokens,
    }


def _products(comparisons: Sequence[EncodedComparison]) -> int:
    """Weights times tokens as they are multiplied: the last block beyond keys and values for scored tokens alone."""
    everywhere = sum(tree_tokens([each]) for each in comparisons)
    keys_values, others = 2 * HIDDEN * HIDDEN, 2 * HIDDEN * HIDDEN + 3 * HIDDEN * INTERMEDIATE
    last = keys_values * everywhere + others * 2 * len(comparisons)
    return (LAYERS - 1) * (keys_values + others) * everywhere + last


def _comparison(index: int, pair: tuple[list[int], list[int]]) -> EncodedComparison:
    chosen, rejected = pair
    return EncodedComparison(
        chosen=chosen,
        rejected=rejected,
        prompt_tokens=common_prefix(chosen, rejected),
        conversation=str(index),
        turn=1,
        objective="harmless",
        tranche="base",
        strength=None,
        dropped_messages=0,
    )


def ppo(folder: Path, *, dtype: torch.dtype, value_network: str) -> dict[str, float]:
    """Seconds per PPO step, median of the steps after the first: 16 prompts, 4 inner epochs, one minibatch."""
    workload = load(folder)
    config = PPOConfig(
        batch_prompts=PPO_BATCH,
        minibatches=1,
        inner_epochs=4,
        micro_tokens=4096,
        max_response_tokens=RESPONSE_TOKENS,
        kl_weight=0.05,
        learning_rate=1e-5,
        value_learning_rate=1e-5,
        value_network=value_network,
    )
    bench = _PPO(folder, workload=workload, config=config, dtype=dtype)
    seconds = []
    for step in range(PPO_STEPS):
        started = time.perf_counter()
        bench.step(step)
        seconds.append(time.perf_counter() - started)
    return {"seconds_per_step": sorted(seconds[1:])[len(seconds[1:]) // 2]}


class _PPO:
    """The loop of the PPO run without its files."""

    def __init__(
        self, folder: Path, *, workload: Workload, config: PPOConfig, dtype: torch.dtype
    ) -> None:
        self.config, self.workload = config, workload
        self.policy = _loaded(folder / "policy", LlamaForCausalLM, dtype=dtype)
        self.reference = _loaded(folder / "policy", LlamaForCausalLM, dtype=dtype)
        self.ranker = _loaded(
            folder / "preference_model", LlamaForSequenceClassification, dtype=dtype
        )
        self.learner = Learner(self.policy, ranker=self.ranker, config=config)

    def step(self, step: int) -> None:
        """Prompts → rollout → score → rewards → advantages → updates."""
        config = self.config
        chosen = self.workload.prompts[step * PPO_BATCH :][:PPO_BATCH]
        prompts = [self._prompt(ids) for ids in chosen]
        rollout = collect(
            self.policy,
            prompts,
            samples_per_prompt=1,
            max_new_tokens=config.max_response_tokens,
            temperature=config.temperature,
            seed=step,
        )
        scores = score_rollout(self.ranker, rollout)
        threads = self.learner.threads
        first_epoch = plan_epoch(rollout, config=config, step=step, epoch=0, threads=threads)
        numbers, kept = read_back(
            rollout,
            [row for minibatch in first_epoch for row in minibatch.rows],
            policy=self.learner.policy,
            reference=self.reference.model,
            value=self.learner.value,
            temperature=config.temperature,
            threads=threads,
            keep=rows_to_keep(first_epoch[0], threads=threads),
        )
        targets, _ = targets_of(
            rollout, scores=scores, numbers=numbers, config=config, kl_coefficient=config.kl_weight
        )
        Updates(
            learner=self.learner,
            rollout=rollout,
            targets=targets,
            config=config,
            step=step,
            ranks=Ranks(),
        ).run(first_epoch, kept=kept)

    def _prompt(self, ids: list[int]) -> Prompt:
        text = self.policy.tokenizer.decode(ids)
        return Prompt(
            messages=({"role": "user", "content": text},),
            objective="harmless",
            token_ids=tuple(ids),
        )


def _loaded(folder: Path, kind: type, *, dtype: torch.dtype) -> LoadedModel:
    model = kind.from_pretrained(folder, dtype=dtype)
    layout = json.loads((folder / "dialogue.json").read_text())
    return LoadedModel(
        model=fuse_norms(model).eval(),
        tokenizer=load_tokenizer(folder),
        dialogue_format=DialogueFormat.from_dict(layout),
        config=model.config,
        hash="",
    )


def main() -> None:
    """Run one measurement."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("what", choices=("preference", "ppo", "ppo_shared"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--precision", choices=("float32", "bfloat16", "int16"), default="bfloat16")
    options = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(options.threads)
    multiply_in_int16(is_on=options.precision == "int16")
    dtype = torch.bfloat16 if options.precision == "bfloat16" else torch.float32
    if options.what == "preference":
        found = preference(options.folder, dtype=dtype)
    else:
        network = "shared" if options.what == "ppo_shared" else "separate"
        found = ppo(options.folder, dtype=dtype, value_network=network)
    found["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(found))


if __name__ == "__main__":
    main()
