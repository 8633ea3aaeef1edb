"""Log-probabilities of response tokens by hand and against transformers."""

import math
from types import SimpleNamespace

import pytest
import torch

from modelserving.lm.attention import hidden_states
from modelserving.lm.policy import (
    ResponseTokens,
    pack_responses,
    packed_logprobs,
    response_logprobs,
)
from tests.modelserving.lm.test_attention import tiny_llama

TREES = [([5, 6], [[7, 8, 9], [10, 11]]), ([20], [[21, 22]])]


def test_response_tokens_are_predicted_from_the_token_before():
    row, tokens = pack_responses(TREES)

    assert tokens.targets.tolist() == [7, 8, 9, 10, 11, 21, 22]
    assert tokens.predicted_at.tolist() == [1, 2, 3, 1, 4, 5, 6]
    assert row.tokens.tolist() == [5, 6, 7, 8, 10, 20, 21]  # nothing is predicted from 9, 11 and 22


def test_responses_of_one_token_or_none_are_predicted_from_the_prompt():
    row, tokens = pack_responses([([1, 2], [[3], [4], [], [3]])])

    assert row.tokens.tolist() == [1, 2]
    assert tokens.predicted_at.tolist() == [1, 1, 1]
    assert tokens.targets.tolist() == [3, 4, 3]


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_logprobs_equal_transformers_on_each_sequence_alone(temperature: float):
    model = tiny_llama()

    ours = packed_logprobs(model, TREES, temperature=temperature)

    model.set_attn_implementation("eager")
    expected = []
    for prompt, response in [(prompt, each) for prompt, group in TREES for each in group]:
        sequence = [*prompt, *response]
        logits = model(torch.tensor([sequence])).logits[0] / temperature
        logprobs = logits.log_softmax(-1)
        expected += [logprobs[i - 1, sequence[i]] for i in range(len(prompt), len(sequence))]
    torch.testing.assert_close(ours.logprobs, torch.stack(expected), rtol=1e-4, atol=1e-5)


def test_a_head_of_zeros_gives_the_uniform_distribution():
    model = tiny_llama()
    model.lm_head.weight = torch.nn.Parameter(torch.zeros_like(model.lm_head.weight))
    row, tokens = pack_responses(TREES)

    hidden = hidden_states(model, row, asked=tokens.predicted_at)
    uniform = response_logprobs(model, hidden, tokens=tokens, temperature=1.0)

    torch.testing.assert_close(uniform.logprobs, torch.full((7,), -math.log(64)))
    torch.testing.assert_close(uniform.entropy, torch.full((7,), math.log(64)))


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_gradients_of_log_probabilities_are_those_of_log_softmax(temperature: float):
    torch.manual_seed(0)
    head = torch.nn.Linear(8, 5, bias=False).double()
    hidden = torch.randn(70, 8, dtype=torch.float64, requires_grad=True)  # more than one chunk
    targets = torch.randint(5, (70,))
    weights = torch.randn(70, dtype=torch.float64)
    model = SimpleNamespace(get_output_embeddings=lambda: head)
    tokens = ResponseTokens(predicted_at=targets, targets=targets)

    ours = response_logprobs(model, hidden, tokens=tokens, temperature=temperature)
    (ours.logprobs * weights).sum().backward()
    found = hidden.grad.clone(), head.weight.grad.clone()
    hidden.grad = head.weight.grad = None
    plain = (head(hidden) / temperature).log_softmax(-1)
    chosen = plain[torch.arange(70), targets]
    (chosen * weights).sum().backward()

    torch.testing.assert_close(ours.logprobs, chosen)
    torch.testing.assert_close(ours.entropy, -(plain.exp() * plain).sum(-1))
    torch.testing.assert_close(found[0], hidden.grad)
    torch.testing.assert_close(found[1], head.weight.grad)
