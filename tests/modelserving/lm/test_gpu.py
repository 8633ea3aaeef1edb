"""What a GPU computes is what the CPU does: attention, gradients, sampling. Nothing here runs where there is none."""

import copy

import pytest
import torch

from modelserving.lm import graph_sampling
from modelserving.lm.attention import hidden_states, pack
from modelserving.lm.graph_steps import Drawing
from modelserving.lm.packed_llama import fits
from modelserving.lm.policy import packed_logprobs
from modelserving.lm.rollouts import sample
from tests.modelserving.lm.test_packed_llama import LONG_TREES, tiny

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
SIZES = {"hidden_size": 64, "intermediate_size": 96, "head_dim": 16}
MODELS = [
    ("llama", {}),
    ("mistral", {"sliding_window": 5}),
    ("qwen2", {}),
    ("qwen3", {}),  # through transformers' own forward
]
CLOSE = {torch.float32: 1e-4, torch.bfloat16: 3e-2}  # of the norm


def apart(found: torch.Tensor, expected: torch.Tensor) -> float:
    """‖found − expected‖ / ‖expected‖."""
    expected = expected.double()
    return float((found.double().cpu() - expected).norm() / expected.norm())


@pytest.mark.parametrize(("architecture", "overrides"), MODELS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("asks", ["all", "ends", "some"])
def test_hidden_states_and_gradients(
    architecture: str, overrides: dict, dtype: torch.dtype, asks: str
):
    there = tiny(architecture, **SIZES, **overrides).to("cuda", dtype)
    model = copy.deepcopy(there).to("cpu", torch.float32)  # of the same rounded weights
    assert fits(there.base_model) == (architecture != "qwen3")
    row = pack(LONG_TREES)
    some = torch.cat([row.ends, row.ends - 1, row.ends[:1]])
    asked = {"all": None, "ends": row.ends, "some": some}[asks]

    results = []
    for each in (model, there):
        hidden = hidden_states(each, row, asked=asked)
        hidden.float().pow(2).mean().backward()
        results.append(hidden.detach())

    assert apart(results[1], results[0]) < CLOSE[dtype]
    own = dict(there.base_model.named_parameters())
    for name, parameter in model.base_model.named_parameters():
        assert apart(own[name].grad, parameter.grad) < 3 * CLOSE[dtype], name


def test_sampling_in_float32_draws_what_the_cpu_draws():
    model = tiny("llama", **SIZES)
    prompts = [[5, 6, 7, 8], [9], [20, 21, 22, 23, 24, 25, 26], [30, 31]]
    seeds = [[i * 10 + j for j in range(8)] for i in range(len(prompts))]
    asked = {
        "samples_per_prompt": 8, "max_new_tokens": 24, "temperature": 1.0, "seeds": seeds,
        "stop_ids": {3, 11},
    }  # fmt: skip
    expected = sample(model, prompts, **asked)
    there = model.to("cuda")
    assert graph_sampling.suits(there)

    found = sample(there, prompts, **asked)

    pairs = [pair for own in zip(found, expected, strict=True) for pair in zip(*own, strict=True)]
    alike = sum(one.token_ids == other.token_ids for one, other in pairs)
    assert alike >= len(pairs) - 1  # rounding may move a number across a bound
    assert {one.finish_reason for one, _ in pairs} == {"stop", "length"}


def test_costs_of_sampled_tokens_are_those_that_training_reads():
    model = tiny("llama", **SIZES).to("cuda", torch.bfloat16)
    prompts = [[5, 6, 7, 8], [9, 10]]
    drawing = Drawing(temperature=0.7, stop_ids={3}, most_tokens=40)

    found = graph_sampling.sample(model, prompts, seeds=[[1, 2], [3, 4]], drawing=drawing)

    trees = [
        (prompt, [each.token_ids for each in own])
        for prompt, own in zip(prompts, found, strict=True)
    ]
    with torch.no_grad():
        read = packed_logprobs(model, trees, temperature=0.7).logprobs
    costs = torch.tensor([cost for own in found for each in own for cost in each.logprobs])
    assert apart(costs, read.float().cpu()) < CLOSE[torch.bfloat16]
