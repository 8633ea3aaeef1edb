"""What this machine could do at best: reading memory and multiplying matrices.

Knows nothing of sampling. Units: bytes and floating-point operations per second.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from modelserving.lm.llama_body import shape_of
from modelserving.lm.matrices import matrix_of


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Measured rates of this machine with the threads it was given."""

    bytes_per_second: float
    flops_of_few_rows: float  # products with as many rows as a decode batch
    flops_of_many_rows: float  # products with as many rows as a piece of a prompt


def measured(*, rows: int, width: int) -> Limits:
    """Median rates over a second or so."""
    weights = torch.randn(64 << 20)  # 256 MB, larger than any cache
    reading = _fastest(weights.sum)
    linear = torch.nn.Linear(width, 4 * width, bias=False)
    matrix = matrix_of([linear], takes_over=False)
    rates = []
    for count in (rows, 256):
        left = torch.randn(count, width)
        seconds = _fastest(lambda left=left: matrix(left))
        rates.append(2 * count * linear.weight.numel() / seconds)
    return Limits(
        bytes_per_second=weights.numel() * 4 / reading,
        flops_of_few_rows=rates[0],
        flops_of_many_rows=rates[1],
    )


def reading_seconds(model: PreTrainedModel, limits: Limits, *, tokens: int) -> float:
    """The least that reading so many tokens can take: every matrix at full rate, of the last block keys and values."""
    matrices = model.num_parameters() - _embedding(model) - _for_last_tokens(model)
    if not model.config.tie_word_embeddings:
        matrices -= _embedding(model)  # the head, which reads the last token only
    return 2 * matrices * tokens / limits.flops_of_many_rows


def sampling_seconds(
    model: PreTrainedModel,
    limits: Limits,
    *,
    prompts: int,
    prompt_tokens: int,
    rows: int,
    steps: int,
) -> float:
    """The least a batch can take: prompts at full rate, then weights, and keys and values, read once per step.

    Each prompt's keys and values once for all its rows, each row's own as they grow. What is read and what is
    multiplied may overlap: the longer of the two counts.
    """
    weights = model.num_parameters()
    matrices = weights if model.config.tie_word_embeddings else weights - _embedding(model)
    kept = shape_of(model).bytes_per_token * (prompts * prompt_tokens + rows * steps / 2)
    reading = (matrices * 4 + kept) / limits.bytes_per_second
    multiplying = 2 * matrices * rows / limits.flops_of_few_rows
    prompt = reading_seconds(model, limits, tokens=prompts * prompt_tokens)
    return prompt + steps * max(reading, multiplying)


def _for_last_tokens(model: PreTrainedModel) -> int:
    """Weights of the last block that only tokens that are asked for need."""
    last = model.base_model.layers[-1]
    keys_values = (last.self_attn.k_proj, last.self_attn.v_proj)
    return sum(
        each.weight.numel()
        for each in last.modules()
        if isinstance(each, torch.nn.Linear) and each not in keys_values
    )


def _embedding(model: PreTrainedModel) -> int:
    return int(model.get_input_embeddings().weight.numel())


def _fastest(work: Callable[[], object], *, repeats: int = 15) -> float:
    found = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        found.append(time.perf_counter() - started)
    return min(found)
