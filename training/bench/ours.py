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
from transformers import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification

from modelserving.core.dialogue import DialogueFormat
from modelserving.lm.attention import common_prefix
from modelserving.lm.fused_norm import fuse_norms
from modelserving.lm.loading import LoadedModel, load_tokenizer
from modelserving.lm.products import multiply_in_int16
from training.bench.workload import Workload, load
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

ROW_TOKENS = {"cpu": (8192, 4096), "cuda": (32768, 32768)}  # of a preference model's rows, PPO's


def preference(folder: Path, *, dtype: torch.dtype) -> dict[str, float]:
    """Pairs per second over one epoch, tokenised beforehand; the steps of the warm-up are not counted."""
    workload = load(folder)
    task = workload.task
    model = LlamaForSequenceClassification.from_pretrained(folder / "preference_model", dtype=dtype)
    fuse_norms(model.to(task.device))
    comparisons = [_comparison(index, pair) for index, pair in enumerate(workload.pairs)]
    row_tokens, _ = ROW_TOKENS[task.device]
    config = PreferenceModelConfig(batch_comparisons=task.batch, micro_tokens=row_tokens)
    singles = [[index] for index in range(len(comparisons))]
    plan = plan_steps(singles, batch_size=task.batch, epochs=1, seed=0)
    master = MasterWeights(model)
    adam = torch.optim.AdamW(list(master.parameters.values()), fused=True)
    optimizers = Optimizers(members=((adam, 1e-5),))
    timed: list[EncodedComparison] = []
    tokens, started = 0, time.perf_counter()
    for step, groups in enumerate(plan):
        if step == task.warm_up:
            timed, tokens, started = [], 0, now(task.device)
        batch = [[comparisons[index] for index in group] for group in groups]
        tokens += accumulate(model, batch, config=config, step=step).tokens
        master.take_gradients()
        master.clip(max_norm=1.0)
        optimizers.step(fraction=1.0)
        master.give_back()
        timed += [each for group in batch for each in group]
    seconds = now(task.device) - started
    return {
        "pairs_per_second": len(timed) / seconds,
        "gflops": 6 * _products(timed, config=model.config) / seconds / 1e9,
        "tokens": tokens,
    }


def now(device: str) -> float:
    """Seconds, when all that was asked of the device is done."""
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def _products(comparisons: Sequence[EncodedComparison], *, config: LlamaConfig) -> int:
    """Weights times tokens as they are multiplied: the last block beyond keys and values for scored tokens alone."""
    everywhere = sum(tree_tokens([each]) for each in comparisons)
    hidden = config.hidden_size
    share = config.num_key_value_heads / config.num_attention_heads
    keys_values = round(2 * hidden * hidden * share)
    others = 2 * hidden * hidden + 3 * hidden * config.intermediate_size
    last = keys_values * everywhere + others * 2 * len(comparisons)
    return (config.num_hidden_layers - 1) * (keys_values + others) * everywhere + last


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
    """Seconds per PPO step, median of the steps after the first: 4 inner epochs, one minibatch."""
    workload = load(folder)
    task = workload.task
    _, row_tokens = ROW_TOKENS[task.device]
    config = PPOConfig(
        batch_prompts=task.ppo_batch,
        minibatches=1,
        inner_epochs=4,
        micro_tokens=row_tokens,
        max_response_tokens=task.response_tokens,
        kl_weight=0.05,
        learning_rate=1e-5,
        value_learning_rate=1e-5,
        value_network=value_network,
    )
    bench = _PPO(folder, workload=workload, config=config, dtype=dtype)
    seconds = []
    for step in range(task.ppo_steps):
        started = now(task.device)
        bench.step(step)
        seconds.append(now(task.device) - started)
    timed = seconds[max(1, task.warm_up) :]
    return {"seconds_per_step": sorted(timed)[len(timed) // 2]}


class _PPO:
    """The loop of the PPO run without its files."""

    def __init__(
        self, folder: Path, *, workload: Workload, config: PPOConfig, dtype: torch.dtype
    ) -> None:
        self.config, self.workload = config, workload
        there = {"dtype": dtype, "device": workload.task.device}
        self.policy = _loaded(folder / "policy", LlamaForCausalLM, **there)
        self.reference = _loaded(folder / "policy", LlamaForCausalLM, **there)
        self.ranker = _loaded(folder / "preference_model", LlamaForSequenceClassification, **there)
        self.learner = Learner(self.policy, ranker=self.ranker, config=config)

    def step(self, step: int) -> None:
        """Prompts → rollout → score → rewards → advantages → updates."""
        config = self.config
        batch = self.workload.task.ppo_batch
        chosen = self.workload.prompts[step * batch :][:batch]
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
            opening=text,
        )


def _loaded(folder: Path, kind: type, *, dtype: torch.dtype, device: str) -> LoadedModel:
    model = kind.from_pretrained(folder, dtype=dtype).to(device)
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
    if load(options.folder).task.device == "cuda":
        found["peak_mib"] = torch.cuda.max_memory_allocated() / (1 << 20)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
