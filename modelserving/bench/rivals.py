"""The same work done by transformers: `generate` per stream, as one batch, and its continuous batching.

Knows nothing of our sampler. Each function returns the seconds it took.
"""

import multiprocessing
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path

import torch
import transformers
from transformers import GenerationConfig, PreTrainedModel
from transformers.generation import ContinuousBatchingConfig

from modelserving.lm.loading import load_language_model

Prompts = Sequence[Sequence[int]]


def _config(model: PreTrainedModel, *, tokens: int, samples: int = 1) -> GenerationConfig:
    """Plain sampling of a fixed length: an end of turn does not end it."""
    return GenerationConfig(
        do_sample=True,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        max_new_tokens=tokens,
        min_new_tokens=tokens,
        num_return_sequences=samples,
        eos_token_id=None,
        pad_token_id=model.config.pad_token_id,
    )


def generate_each(model: PreTrainedModel, prompts: Prompts, *, tokens: int) -> float:
    """One `generate` per stream, one after another, as a server without batching does."""
    model.set_attn_implementation("sdpa")
    config = _config(model, tokens=tokens)
    started = time.perf_counter()
    with torch.no_grad():
        for prompt in prompts:
            model.generate(torch.tensor([list(prompt)]), generation_config=config)
    return time.perf_counter() - started


def generate_together(model: PreTrainedModel, prompts: Prompts, *, tokens: int) -> float:
    """All streams as one static batch: prompts of one length, so that nothing is padded."""
    model.set_attn_implementation("sdpa")
    config = _config(model, tokens=tokens)
    started = time.perf_counter()
    with torch.no_grad():
        model.generate(torch.tensor([list(p) for p in prompts]), generation_config=config)
    return time.perf_counter() - started


def generate_samples(
    model: PreTrainedModel, prompt: Sequence[int], *, samples: int, tokens: int
) -> float:
    """Many samples of one prompt by `num_return_sequences`."""
    model.set_attn_implementation("sdpa")
    config = _config(model, tokens=tokens, samples=samples)
    started = time.perf_counter()
    with torch.no_grad():
        model.generate(torch.tensor([list(prompt)]), generation_config=config)
    return time.perf_counter() - started


def continuous_batching(model: PreTrainedModel, prompts: Prompts, *, tokens: int) -> float | None:
    """transformers' continuous batching; None where it does not run."""
    config = _config(model, tokens=tokens)
    config.eos_token_id = -1  # never drawn; it wants one
    batching = ContinuousBatchingConfig(
        page_size=32, num_blocks=16 * (-(-(len(prompts[0]) + tokens) // 32) + 1),
        max_batch_tokens=max(1024, len(prompts[0])),
    )  # fmt: skip
    started = time.perf_counter()
    found = model.generate_batch(
        [list(prompt) for prompt in prompts],
        generation_config=config,
        continuous_batching_config=batching,
        warmup=False,
        persistent_manager=True,
    )
    seconds = time.perf_counter() - started
    drawn = [len(each.generated_tokens) for each in found.values()]
    return seconds if drawn == [tokens] * len(prompts) else None


class ContinuousBatching:
    """transformers' continuous batching in a process of its own, idle between measurements.

    Its threads slow every later parallel region of the process that they ran in, ours and its own.
    """

    def __init__(self, checkpoint: Path, *, threads: int) -> None:
        """Start the process."""
        self._ours, theirs = multiprocessing.Pipe()
        spawn = multiprocessing.get_context("spawn")
        self._process = spawn.Process(
            target=_serve_batching, args=(theirs, checkpoint, threads), daemon=True
        )
        self._process.start()

    def seconds(self, prompts: Prompts, *, tokens: int) -> float | None:
        """How long these prompts take, measured over there."""
        self._ours.send(([list(prompt) for prompt in prompts], tokens))
        found: float | None = self._ours.recv()
        return found

    def end(self) -> None:
        """End the process."""
        self._ours.send(None)
        self._process.join(timeout=10)
        self._process.kill()


def _serve_batching(asked: Connection, checkpoint: Path, threads: int) -> None:
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(threads)
    model = load_language_model(checkpoint).model
    while (question := asked.recv()) is not None:
        prompts, tokens = question
        asked.send(continuous_batching(model, prompts, tokens=tokens))


def score_padded(model: PreTrainedModel, sequences: Prompts) -> float:
    """Score sequences as one padded batch, as transformers' sequence classification does."""
    model.set_attn_implementation("sdpa")
    longest = max(len(sequence) for sequence in sequences)
    pad = model.config.pad_token_id
    ids = torch.tensor([[*each, *[pad] * (longest - len(each))] for each in sequences])
    is_token = torch.tensor([[1] * len(s) + [0] * (longest - len(s)) for s in sequences])
    started = time.perf_counter()
    with torch.no_grad():
        model(input_ids=ids, attention_mask=is_token)
    return time.perf_counter() - started
