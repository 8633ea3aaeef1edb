"""Sampling by whole steps on the device draws what the running batch draws; here on a CPU, where steps are not recorded."""

import pytest
import torch

from modelserving.lm import graph_sampling
from modelserving.lm.graph_steps import Drawing
from modelserving.lm.rollouts import sample
from tests.modelserving.lm.test_packed_llama import tiny

PROMPTS = [[5, 6, 7, 8], [9], [20, 21, 22, 23, 24, 25, 26], [30, 31], [5, 6, 7, 8, 9, 10]]
SEEDS = [[i * 10 + j for j in range(3)] for i in range(len(PROMPTS))]
TOKENS = 21  # more than are drawn between two looks


@pytest.mark.parametrize(
    ("architecture", "overrides"),
    [("llama", {}), ("mistral", {"sliding_window": 5}), ("qwen2", {"tie_word_embeddings": True})],
)
@pytest.mark.parametrize("temperature", [0.0, 0.7])
def test_the_same_tokens_and_costs_as_the_running_batch(
    architecture: str, overrides: dict, temperature: float
):
    model = tiny(architecture, **overrides)
    stop = {3, 11, 12}

    found = graph_sampling.sample(
        model, PROMPTS, seeds=SEEDS,
        drawing=Drawing(temperature=temperature, stop_ids=stop, most_tokens=TOKENS), most_rows=4,
    )  # fmt: skip

    expected = sample(
        model, PROMPTS, samples_per_prompt=3, max_new_tokens=TOKENS, temperature=temperature,
        seeds=SEEDS, stop_ids=stop,
    )  # fmt: skip
    for own, others in zip(found, expected, strict=True):
        for one, other in zip(own, others, strict=True):
            assert one.token_ids == other.token_ids
            assert one.finish_reason == other.finish_reason
            torch.testing.assert_close(one.logprobs, other.logprobs, rtol=1e-4, atol=1e-5)
    reasons = {each.finish_reason for own in found for each in own}
    assert temperature == 0 or reasons == {"stop", "length"}


def test_prompts_are_read_in_parts_and_once_for_samples_that_begin_together(monkeypatch):
    model = tiny("llama")
    read = []
    hidden_states = graph_sampling.hidden_states

    def watched(model, row, **rest):
        read.append(len(row.tokens))
        return hidden_states(model, row, **rest)

    monkeypatch.setattr(graph_sampling, "hidden_states", watched)
    monkeypatch.setattr(graph_sampling, "PROMPT_TOKENS", 8)
    drawing = Drawing(temperature=1.0, stop_ids=(), most_tokens=2)

    found = graph_sampling.sample(model, PROMPTS, seeds=SEEDS, drawing=drawing)

    assert sum(read) == sum(len(prompt) - 1 for prompt in PROMPTS)
    assert len(read) > 1
    assert all(len(each.token_ids) == 2 for own in found for each in own)


def test_no_tokens_wanted_or_nobody_asking():
    model = tiny("llama")
    none = Drawing(temperature=1.0, stop_ids=(), most_tokens=0)

    assert graph_sampling.sample(model, [], seeds=[], drawing=none) == []
    (own,) = graph_sampling.sample(model, [[4]], seeds=[[1]], drawing=none)
    assert (own[0].token_ids, own[0].finish_reason) == ([], "length")


def test_models_on_a_cpu_and_of_other_builds_are_left_to_the_running_batch():
    assert not graph_sampling.suits(tiny("llama"))
    assert not graph_sampling.suits(tiny("gpt_neox", num_hidden_layers=1))
