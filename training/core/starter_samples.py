"""Write one reply per prompt: `python -m training.core.starter_samples --checkpoint DIR --prompts F --out F`.

It does not judge the replies: a reader does, and all of them are published.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from modelserving.core.dialogue import encode_prompt
from modelserving.lm.loading import LoadedModel, load_language_model
from modelserving.lm.rollouts import sample
from modelserving.lm.stopping import stop_ids

MAX_TOKENS = 120


def replies_to(
    prompts: Sequence[str], *, loaded: LoadedModel, temperature: float, seed: int
) -> list[str]:
    """The first and only sample for each prompt; prompt number n has seed + n."""
    layout = loaded.dialogue_format
    encoded = [
        encode_prompt(
            [{"role": "user", "content": prompt}],
            encoder=loaded.tokenizer,
            layout=layout,
            room=layout.context_tokens - MAX_TOKENS,
        ).token_ids
        for prompt in prompts
    ]
    sampled = sample(
        loaded.model,
        encoded,
        samples_per_prompt=1,
        max_new_tokens=MAX_TOKENS,
        temperature=temperature,
        seeds=[[seed + number] for number in range(len(prompts))],
        stop_ids=stop_ids(loaded),
        max_rows=8,
    )
    return [loaded.tokenizer.decode(each[0].token_ids).strip() for each in sampled]


def main(arguments: list[str] | None = None) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m training.core.starter_samples")
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--prompts", type=Path, required=True, help="JSON list of texts")
    parser.add_argument("--out", type=Path, required=True, help="JSON list of prompt and reply")
    parser.add_argument("--temperature", type=float, default=0.7)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    prompts: list[str] = json.loads(options.prompts.read_text(encoding="utf-8"))
    replies = replies_to(
        prompts,
        loaded=load_language_model(options.checkpoint),
        temperature=options.temperature,
        seed=options.seed,
    )
    rows = [{"prompt": p, "reply": r} for p, r in zip(prompts, replies, strict=True)]
    options.out.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
