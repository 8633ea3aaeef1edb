"""What the networks say of a rollout's tokens: packed rows, a plain forward and the sampler are one thing."""

from collections.abc import Sequence

import torch

from modelserving.core.sampling import sample_seed
from modelserving.lm.loading import LoadedModel
from modelserving.lm.rollouts import sample
from modelserving.lm.stopping import stop_ids
from tests.training.core.tiny_rollout import TEMPERATURE
from training.core.rollout import Rollout, SampleRow, packed_rows
from training.core.token_numbers import TokenNumbers, ValueReader, flat_tokens, read_back


def plain_logprobs(policy: LoadedModel, rollout: Rollout, index: int) -> torch.Tensor:
    start, response = rollout.prompts[index].token_ids, rollout.responses[index]
    policy.model.set_attn_implementation("eager")
    with torch.no_grad():
        logits = policy.model(torch.tensor([[*start, *response]])).logits[0] / TEMPERATURE
    logprobs = logits.log_softmax(-1)[len(start) - 1 : -1]
    return logprobs.gather(-1, torch.tensor(response)[:, None])[:, 0]


def read_twice(
    policy: LoadedModel, rollout: Rollout, rows: Sequence[SampleRow], *, temperature: float
) -> TokenNumbers:
    """By the policy, and by itself as its own reference."""
    head = torch.nn.Linear(policy.model.config.hidden_size, 1)
    numbers, kept = read_back(
        rollout,
        rows,
        policy=policy.model,
        reference=policy.model,
        value=ValueReader(head=head, network=None),
        temperature=temperature,
    )
    assert kept == []
    return numbers


def test_packed_logprobs_equal_a_plain_forward_and_the_samplers_own(
    policy: LoadedModel, rollout: Rollout
):
    rows = packed_rows(rollout, range(rollout.size), micro_tokens=40)

    numbers = read_twice(policy, rollout, rows, temperature=TEMPERATURE)
    sampled = sample(
        policy.model,
        [rollout.prompts[index].token_ids for index in (0, 2, 4)],
        samples_per_prompt=2,
        max_new_tokens=12,
        temperature=TEMPERATURE,
        seeds=[[sample_seed(seed=3, index=2 * i + j) for j in range(2)] for i in range(3)],
        stop_ids=stop_ids(policy),
    )

    assert len(rows) > 1
    flat = [each for group in sampled for each in group]
    for index, length in enumerate(rollout.lengths.tolist()):
        ours = numbers.logprobs[index, :length]
        torch.testing.assert_close(
            ours, plain_logprobs(policy, rollout, index), rtol=1e-4, atol=1e-5
        )
        torch.testing.assert_close(ours, torch.tensor(flat[index].logprobs), rtol=1e-4, atol=1e-5)
        assert tuple(flat[index].token_ids) == rollout.responses[index]
        assert not numbers.logprobs[index, length:].any()


def test_identical_policies_have_kl_exactly_zero(policy: LoadedModel, rollout: Rollout):
    rows = packed_rows(rollout, range(rollout.size), micro_tokens=64)

    numbers = read_twice(policy, rollout, rows, temperature=1.0)

    assert torch.equal(numbers.logprobs, numbers.reference)


def test_entropy_is_that_of_the_next_token_distribution(policy: LoadedModel, rollout: Rollout):
    rows = packed_rows(rollout, range(rollout.size), micro_tokens=64)
    numbers = read_twice(policy, rollout, rows, temperature=TEMPERATURE)

    start, response = rollout.prompts[0].token_ids, rollout.responses[0]
    policy.model.set_attn_implementation("eager")
    with torch.no_grad():
        logits = policy.model(torch.tensor([[*start, *response]])).logits[0] / TEMPERATURE
    expected = torch.distributions.Categorical(logits=logits[len(start) - 1 : -1]).entropy()
    torch.testing.assert_close(numbers.entropy[0, : len(response)], expected, rtol=1e-4, atol=1e-5)


def test_table_and_row_order_agree(rollout: Rollout):
    table = torch.arange(rollout.is_response.numel()).view(rollout.is_response.shape).float()

    for row in packed_rows(rollout, range(rollout.size), micro_tokens=48):
        flat = flat_tokens(table, row=row, is_response=rollout.is_response)
        targets = [token for index in row.samples for token in rollout.responses[index]]
        assert row.tokens.targets.tolist() == targets
        assert len(flat) == len(targets)
