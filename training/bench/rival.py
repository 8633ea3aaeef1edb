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


class Stopwatch(TrainerCallback):
    """When each step ended."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_step_end(self, *_: object, **__: object) -> None:
        self.ends.append(now())


def now() -> float:
    """Seconds, when all that was asked of the device is done."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


TUNED: dict[str, Any] = {
    "gradient_checkpointing": False,
    "logging_steps": 1000,
    "train_sampling_strategy": "group_by_length",
    "remove_unused_columns": False,
}


def preference_arguments(task: dict[str, Any], *, bf16: bool) -> dict[str, Any]:
    """RewardTrainer's defaults, for this task."""
    settings = {
        "max_length": 512,
        "per_device_train_batch_size": task["rival_rows"],
        "gradient_accumulation_steps": task["batch"] // task["rival_rows"],
        "use_cpu": task["device"] == "cpu",
        "num_train_epochs": 1,
        "save_strategy": "no",
        "report_to": "none",
    }
    if not bf16:  # its default is bfloat16, on whatever processor
        settings["bf16"] = False
    return settings


def preference(folder: Path, *, tuned: bool, bf16: bool) -> dict[str, float]:
    """Pairs per second of RewardTrainer over one epoch, tokenised beforehand; the steps of the warm-up are not counted."""
    workload = json.loads((folder / "workload.json").read_text())
    pairs, task = workload["pairs"], workload["task"]
    rows = {
        "chosen_ids": [chosen for chosen, _ in pairs],
        "rejected_ids": [rejected for _, rejected in pairs],
    }
    settings = preference_arguments(task, bf16=bf16)
    if tuned:
        rows["length"] = [max(map(len, pair)) for pair in pairs]
        settings |= TUNED
    model = AutoModelForSequenceClassification.from_pretrained(folder / "preference_model")
    stopwatch = Stopwatch()
    trainer = trl.RewardTrainer(
        model=model,
        args=trl.RewardConfig(output_dir=tempfile.mkdtemp(), **settings),
        processing_class=AutoTokenizer.from_pretrained(folder / "preference_model"),
        train_dataset=datasets.Dataset.from_dict(rows),
        callbacks=[stopwatch],
    )
    started = now()
    trainer.train()
    ended, skipped = now(), task["warm_up"]
    if skipped:
        started = stopwatch.ends[skipped - 1]
    timed = len(pairs) - skipped * task["batch"]
    return {"pairs_per_second": timed / (ended - started)}


PPO_ARGUMENTS: dict[str, Any] = {
    "num_ppo_epochs": 4,
    "num_mini_batches": 1,
    "stop_token": "eos",
    "missing_eos_penalty": 1.0,
    "temperature": 1.0,
    "num_sample_generations": 0,
    "learning_rate": 1e-5,
    "gradient_checkpointing": False,
    "save_strategy": "no",
    "report_to": "none",
}


def ppo(folder: Path, *, bf16: bool, kind: dict[str, torch.dtype]) -> dict[str, float]:
    """Seconds per step of PPOTrainer, median of the steps after the first, or after the warm-up."""
    from trl.experimental.ppo import PPOConfig, PPOTrainer  # noqa: PLC0415 -- gone in later releases

    workload = json.loads((folder / "workload.json").read_text())
    prompts, task = workload["prompts"], workload["task"]
    scorer = folder / "preference_model"
    tokenizer = AutoTokenizer.from_pretrained(folder / "policy", padding_side="left")
    stopwatch = Stopwatch()
    config = PPOConfig(
        output_dir=tempfile.mkdtemp(),
        bf16=bf16,
        use_cpu=task["device"] == "cpu",
        per_device_train_batch_size=task["rival_ppo_rows"],
        gradient_accumulation_steps=task["ppo_batch"] // task["rival_ppo_rows"],
        total_episodes=task["ppo_batch"] * task["ppo_steps"],
        response_length=task["response_tokens"],
        **PPO_ARGUMENTS,
    )
    trainer = PPOTrainer(
        args=config,
        processing_class=tokenizer,
        model=AutoModelForCausalLM.from_pretrained(folder / "policy", **kind),
        ref_model=AutoModelForCausalLM.from_pretrained(folder / "policy", **kind),
        reward_model=AutoModelForSequenceClassification.from_pretrained(scorer, **kind),
        value_model=AutoModelForSequenceClassification.from_pretrained(scorer, **kind),
        train_dataset=datasets.Dataset.from_dict({"input_ids": prompts}),
        eval_dataset=datasets.Dataset.from_dict({"input_ids": prompts[:4]}),
        callbacks=[stopwatch],
    )
    stopwatch.ends.append(now())
    trainer.train()
    ends = stopwatch.ends[max(0, task["warm_up"] - 1) :]
    seconds = sorted(after - before for before, after in pairwise(ends[1:]))
    return {"seconds_per_step": seconds[len(seconds) // 2]}


def main() -> None:
    """Run one measurement."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("what", choices=("preference", "preference_tuned", "ppo"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--float32", action="store_true")
    parser.add_argument("--load-bfloat16", action="store_true", help="PPO's models, all of them")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.what.startswith("preference"):
        tuned = options.what == "preference_tuned"
        found = preference(options.folder, tuned=tuned, bf16=not options.float32)
    else:
        kind = {"dtype": torch.bfloat16} if options.load_bfloat16 else {}
        found = ppo(options.folder, bf16=not options.float32, kind=kind)
    found["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    task = json.loads((options.folder / "workload.json").read_text())["task"]
    if task["device"] == "cuda":
        found["peak_mib"] = torch.cuda.max_memory_allocated() / (1 << 20)
    versions = {"trl": trl.__version__, "transformers": transformers.__version__}
    print(json.dumps({**found, "versions": versions}))


if __name__ == "__main__":
    main()
