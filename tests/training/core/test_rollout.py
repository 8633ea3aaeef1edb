"""Rollouts: what the sampler says, what packed rows say and what a plain forward says are one thing."""

from pathlib import Path

import pytest
import torch

from modelserving.lm.loading import LoadedModel, load_language_model, load_preference_model
from modelserving.lm.preference_model import score_dialogues
from modelserving.lm.rollouts import sample
from tests.tiny_checkpoints import make_tiny_language_model, make_tiny_preference_model
from training.core.prompts import Prompt, PromptMixture, written_prompts
from training.core.rollout import Rollout, collect, packed_rows, score_rollout
from training.core.token_numbers import ValueReader, flat_tokens, read_back

TEMPERATURE = 0.7


@pytest.fixture(scope="module")
def policy(tmp_path_factory) -> LoadedModel:
    directory = tmp_path_factory.mktemp("models") / "policy"
    make_tiny_language_model(directory)
    return load_language_model(directory)


def prompt(policy: LoadedModel, text: str, *, objective: str = "helpful") -> Prompt:
    layout = policy.dialogue_format
    ids = [
        policy.tokenizer.token_id(layout.human),
        *policy.tokenizer.encode(text),
        policy.tokenizer.token_id(layout.assistant),
    ]
    messages = ({"role": "user", "content": text},)
    return Prompt(messages=messages, objective=objective, token_ids=tuple(ids))


@pytest.fixture(scope="module")
def rollout(policy: LoadedModel) -> Rollout:
    prompts = [prompt(policy, text) for text in ("Hello there", "a dog", "Tell me a story")]
    return collect(
        policy,
        prompts,
        samples_per_prompt=2,
        max_new_tokens=12,
        temperature=TEMPERATURE,
        seed=3,
    )


def plain_logprobs(policy: LoadedModel, rollout: Rollout, index: int) -> torch.Tensor:
    start, response = rollout.prompts[index].token_ids, rollout.responses[index]
    policy.model.set_attn_implementation("eager")
    with torch.no_grad():
        logits = policy.model(torch.tensor([[*start, *response]])).logits[0] / TEMPERATURE
    logprobs = logits.log_softmax(-1)[len(start) - 1 : -1]
    return logprobs.gather(-1, torch.tensor(response)[:, None])[:, 0]


def zero_value(policy: LoadedModel) -> ValueReader:
    head = torch.nn.Linear(policy.model.config.hidden_size, 1)
    return ValueReader(head=head, network=None)


def test_packed_logprobs_equal_a_plain_forward_and_the_samplers_own(
    policy: LoadedModel, rollout: Rollout
):
    rows = packed_rows(rollout, range(rollout.size), micro_tokens=40)

    numbers, _ = read_back(
        rollout,
        rows,
        policy=policy.model,
        reference=policy.model,
        value=zero_value(policy),
        temperature=TEMPERATURE,
    )
    sampled = sample(
        policy.model,
        [rollout.prompts[index].token_ids for index in (0, 2, 4)],
        samples_per_prompt=2,
        max_new_tokens=12,
        temperature=TEMPERATURE,
        seeds=[[3 * 1_000_003 + 2 * i + j for j in range(2)] for i in range(3)],
        stop_ids={policy.tokenizer.token_id("<|endoftext|>")},
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

    numbers, _ = read_back(
        rollout,
        rows,
        policy=policy.model,
        reference=policy.model,
        value=zero_value(policy),
        temperature=1.0,
    )

    assert torch.equal(numbers.logprobs, numbers.reference)


def test_entropy_is_that_of_the_next_token_distribution(policy: LoadedModel, rollout: Rollout):
    rows = packed_rows(rollout, range(rollout.size), micro_tokens=64)
    value = zero_value(policy)
    nets = {"policy": policy.model, "reference": policy.model, "value": value}
    numbers, _ = read_back(rollout, rows, **nets, temperature=TEMPERATURE)

    start, response = rollout.prompts[0].token_ids, rollout.responses[0]
    policy.model.set_attn_implementation("eager")
    with torch.no_grad():
        logits = policy.model(torch.tensor([[*start, *response]])).logits[0] / TEMPERATURE
    expected = torch.distributions.Categorical(logits=logits[len(start) - 1 : -1]).entropy()
    torch.testing.assert_close(numbers.entropy[0, : len(response)], expected, rtol=1e-4, atol=1e-5)


def test_a_rollout_depends_on_its_seed_alone(policy: LoadedModel):
    prompts = [prompt(policy, "Hello there")]
    settings = {"samples_per_prompt": 3, "max_new_tokens": 8, "temperature": 1.0}

    first, again, other = (collect(policy, prompts, **settings, seed=seed) for seed in (1, 1, 2))

    assert first.responses == again.responses
    assert first.responses != other.responses
    assert len(set(first.responses)) == 3


def test_table_and_row_order_agree(rollout: Rollout):
    table = torch.arange(rollout.is_response.numel()).view(rollout.is_response.shape).float()

    for row in packed_rows(rollout, range(rollout.size), micro_tokens=48):
        flat = flat_tokens(table, row=row, is_response=rollout.is_response)
        targets = [token for index in row.samples for token in rollout.responses[index]]
        assert row.tokens.targets.tolist() == targets
        assert len(flat) == len(targets)


def test_scores_are_those_of_the_rendered_dialogue(rollout: Rollout, tmp_path: Path):
    make_tiny_preference_model(tmp_path / "pm")
    ranker = load_preference_model(tmp_path / "pm")

    scores = score_rollout(ranker, rollout)

    dialogue = [*rollout.prompts[1].messages, {"role": "assistant", "content": rollout.texts[1]}]
    torch.testing.assert_close(
        scores[1], score_dialogues(ranker, [dialogue])[0], rtol=1e-4, atol=1e-5
    )


def test_prompt_mixture_follows_weights_seed_and_step(policy: LoadedModel):
    pool = [prompt(policy, f"a {i}") for i in range(20)]
    pool += [prompt(policy, f"b {i}", objective="harmless") for i in range(20)]
    weights = {"helpful": 3.0, "harmless": 1.0}
    mixture = PromptMixture(pool, weights=weights, seed=0)

    batches = [mixture.batch(step=step, count=8) for step in range(100)]

    share = sum(p.objective == "helpful" for batch in batches for p in batch) / 800
    assert share == pytest.approx(0.75, abs=0.05)
    assert mixture.batch(step=7, count=8) == batches[7]
    assert all(len(set(batch)) == 8 for batch in ([p.token_ids for p in b] for b in batches))


def test_the_model_writes_prompts_of_its_own(policy: LoadedModel):
    examples = [
        prompt(policy, f"Tell me about a {word}")
        for word in ["dog", "cat", "cow", "hen", "fox", "owl", "bee", "ant", "elk", "emu"]
    ]

    written = written_prompts(policy, examples, count=6, room=64, seed=0)
    again = written_prompts(policy, examples, count=6, room=64, seed=0)

    assert written == again
    assert 0 < len(written) <= 6
    assert all(each.token_ids[-1] == policy.tokenizer.token_id("<|assistant|>") for each in written)
    mixture = PromptMixture(examples, weights={}, seed=0, written=written, written_share=0.5)
    batch = mixture.batch(step=0, count=8)
    assert sum(each in written for each in batch) == 4
