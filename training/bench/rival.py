"""One measurement of TRL's trainers, as a child process in TRL's own environment: prints one JSON line.

It does not import this project: `python rival.py FOLDER WHAT` runs wherever TRL is installed.
"""

import argparse
import json
import resource
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import datasets
import torch
import transformers
import trl
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    TrainerCallback,
)

PPO_BATCH, PPO_STEPS, RESPONSE_TOKENS = 16, 4, 64


class Stopwatch(TrainerCallback):
    """When each step ended."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_step_end(self, *_: object, **__: object) -> None:
        self.ends.append(time.perf_counter())


def preference(folder: Path, *, tuned: bool, bf16: bool) -> dict[str, float]:
    """Pairs per second of RewardTrainer over one epoch, tokenised beforehand."""
    pairs = json.loads((folder / "workload.json").read_text())["pairs"]
    rows = {
        "chosen_ids": [chosen for chosen, _ in pairs],
        "rejected_ids": [rejected for _, rejected in pairs],
    }
    settings = {
        "max_length": 512,
        "num_train_epochs": 1,
        "save_strategy": "no",
        "report_to": "none",
    }
    if not bf16:  # its default is bfloat16, on whatever processor
        settings["bf16"] = False
    if tuned:
        rows["length"] = [max(map(len, pair)) for pair in pairs]
        settings |= {
            "gradient_checkpointing": False,
            "logging_steps": 1000,
            "train_sampling_strategy": "group_by_length",
            "remove_unused_columns": False,
        }
    model = AutoModelForSequenceClassification.from_pretrained(folder / "preference_model")
    trainer = trl.RewardTrainer(
        model=model,
        args=trl.RewardConfig(output_dir=tempfile.mkdtemp(), use_cpu=True, **settings),
        processing_class=AutoTokenizer.from_pretrained(folder / "preference_model"),
        train_dataset=datasets.Dataset.from_dict(rows),
    )
    started = time.perf_counter()
    trainer.train()
    return {"pairs_per_second": len(pairs) / (time.perf_counter() - started)}


PPO_ARGUMENTS: dict[str, Any] = {
    "use_cpu": True,
    "per_device_train_batch_size": 8,
    "gradient_accumulation_steps": 2,
    "num_ppo_epochs": 4,
    "num_mini_batches": 1,
    "total_episodes": PPO_BATCH * PPO_STEPS,
    "response_length": RESPONSE_TOKENS,
    "stop_token": "eos",
    "missing_eos_penalty": 1.0,
    "temperature": 1.0,
    "num_sample_generations": 0,
    "learning_rate": 1e-5,
    "gradient_checkpointing": False,
    "save_strategy": "no",
    "report_to": "none",
}


def ppo(folder: Path, *, bf16: bool) -> dict[str, float]:
    """Seconds per step of PPOTrainer, median of the steps after the first."""
    from trl.experimental.ppo import PPOConfig, PPOTrainer  # noqa: PLC0415 -- gone in later releases

    prompts = json.loads((folder / "workload.json").read_text())["prompts"]
    scorer = folder / "preference_model"
    tokenizer = AutoTokenizer.from_pretrained(folder / "policy", padding_side="left")
    stopwatch = Stopwatch()
    config = PPOConfig(output_dir=tempfile.mkdtemp(), bf16=bf16, **PPO_ARGUMENTS)
    trainer = PPOTrainer(
        args=config,
        processing_class=tokenizer,
        model=AutoModelForCausalLM.from_pretrained(folder / "policy"),
        ref_model=AutoModelForCausalLM.from_pretrained(folder / "policy"),
        reward_model=AutoModelForSequenceClassification.from_pretrained(scorer),
        value_model=AutoModelForSequenceClassification.from_pretrained(scorer),
        train_dataset=datasets.Dataset.from_dict({"input_ids": prompts}),
        eval_dataset=datasets.Dataset.from_dict({"input_ids": prompts[:4]}),
        callbacks=[stopwatch],
    )
    stopwatch.ends.append(time.perf_counter())
    trainer.train()
    ends = stopwatch.ends
    seconds = sorted(after - before for before, after in pairwise(ends[1:]))
    return {"seconds_per_step": seconds[len(seconds) // 2]}


def main() -> None:
    """Run one measurement."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("what", choices=("preference", "preference_tuned", "ppo"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--float32", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.what.startswith("preference"):
        tuned = options.what == "preference_tuned"
        found = preference(options.folder, tuned=tuned, bf16=not options.float32)
    else:
        found = ppo(options.folder, bf16=not options.float32)
    found["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    versions = {"trl": trl.__version__, "transformers": transformers.__version__}
    print(json.dumps({**found, "versions": versions}))


if __name__ == "__main__":
    main()
