"""The running batch: right numbers, the same text in any company, one reading of each prompt."""

import random
from collections.abc import Sequence

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    MistralConfig,
    PretrainedConfig,
    PreTrainedModel,
    Qwen2Config,
)

from modelserving.lm.llama_body import is_llama_like
from modelserving.lm.llama_reading import reader_of
from modelserving.lm.prefix_cache import BLOCK
from modelserving.lm.reading import TransformersReader
from modelserving.lm.rollouts import sample
from modelserving.lm.sample_requests import PromptRead, SampleRequest, TokenDrawn
from modelserving.lm.sampler import Sampler

VOCABULARY = 128
SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 512,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "initializer_range": 0.2,
}
CONFIGS: dict[str, PretrainedConfig] = {
    "llama": LlamaConfig(num_key_value_heads=2, **SIZES),
    "llama, one query per key": LlamaConfig(**SIZES),
    "llama, wide heads and odd sizes": LlamaConfig(
        **{**SIZES, "hidden_size": 72, "intermediate_size": 100, "vocab_size": VOCABULARY + 5},
        num_key_value_heads=2, head_dim=24, attention_bias=True, mlp_bias=True,
    ),
    "llama, angles of longer sequences grow": LlamaConfig(
        **{**SIZES, "max_position_embeddings": 220}, num_key_value_heads=2,
        rope_parameters={"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0},
    ),
    "qwen2, other angles of longer sequences": Qwen2Config(
        **SIZES, num_key_value_heads=2,
        rope_parameters={
            "rope_type": "longrope", "rope_theta": 1e4, "original_max_position_embeddings": 220,
            "factor": 512 / 220, "short_factor": [1.0, 1.1, 1.2, 1.3], "long_factor": [4.0] * 4,
        },
    ),
    "qwen2, four queries per key": Qwen2Config(num_key_value_heads=1, **SIZES),
    "mistral, sliding window": MistralConfig(num_key_value_heads=2, sliding_window=20, **SIZES),
    "gemma2, capped": Gemma2Config(
        num_key_value_heads=2, head_dim=16, sliding_window=20, pad_token_id=0, **SIZES
    ),
    "gpt2": GPT2Config(
        vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4, n_positions=512, bos_token_id=1,
        eos_token_id=2, initializer_range=0.2,
    ),
    "gpt-neox": GPTNeoXConfig(**SIZES),
}  # fmt: skip


def tiny(name: str) -> PreTrainedModel:
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(CONFIGS[name]).eval()


def prompt_of(length: int, *, seed: int = 0) -> list[int]:
    rng = random.Random(f"{length} {seed}")
    return [rng.randrange(3, VOCABULARY) for _ in range(length)]


def naive_logprobs(
    model: PreTrainedModel, prompt: Sequence[int], reply: Sequence[int], *, temperature: float
) -> torch.Tensor:
    """One plain forward of the whole sequence: (R,)."""
    model.config._attn_implementation = "eager"
    ids = torch.tensor([[*prompt, *reply]])
    with torch.no_grad():
        logprobs = torch.log_softmax(model(ids).logits[0].float() / temperature, dim=-1)
    return logprobs[len(prompt) - 1 : -1].gather(1, torch.tensor(reply)[:, None])[:, 0]


@pytest.mark.usefixtures("step")
@pytest.mark.parametrize("name", CONFIGS)
def test_logprobs_are_those_of_a_plain_forward(name: str) -> None:
    model = tiny(name)
    prompts = [prompt_of(length) for length in (1, 2, 63, 64, 65, 130)]

    found = sample(
        model, prompts, samples_per_prompt=2, max_new_tokens=12, temperature=0.7,
        seeds=[[10 * i, 10 * i + 1] for i in range(len(prompts))], stop_ids={5},
    )  # fmt: skip

    for prompt, samples in zip(prompts, found, strict=True):
        for each in samples:
            plain = naive_logprobs(model, prompt, each.token_ids, temperature=0.7)
            assert torch.allclose(torch.tensor(each.logprobs), plain, atol=5e-5)
            ended = each.token_ids[-1] == 5
            assert each.finish_reason == ("stop" if ended else "length")
            assert 5 not in each.token_ids[:-1]


@pytest.mark.usefixtures("step")
@pytest.mark.parametrize("name", CONFIGS)
def test_a_sample_is_the_same_bit_for_bit_in_any_company(name: str) -> None:
    model = tiny(name)
    lengths = (1, 5, 64, 100, 129, 200)
    together = _run(model, lengths, samples=3, arrival_every=2)

    for length in lengths:
        alone = _run(model, [length], samples=3, arrival_every=1)
        for index in range(3):
            assert together[str(length), index] == alone[str(length), index]


@pytest.mark.usefixtures("step")
@pytest.mark.parametrize("name", [name for name in CONFIGS if is_llama_like(tiny(name))])
def test_the_fast_reader_gives_the_numbers_of_transformers(name: str) -> None:
    model = tiny(name)
    prompt = tuple(prompt_of(150))
    found = []
    for reader in (TransformersReader(model), reader_of(model)):
        sampler = Sampler(reader, max_rows=8)
        sampler.add(SampleRequest(key="a", prompt=prompt, seeds=(1, 2, 3), max_tokens=30))
        events = [event for _ in range(31) for event in sampler.step()]
        found.append([event for event in events if isinstance(event, TokenDrawn)])

    plain, fast = found
    assert type(reader).__name__ == "LlamaReader"
    assert [event.token_id for event in fast] == [event.token_id for event in plain]
    costs = [[event.logprob for event in events] for events in (fast, plain)]
    assert costs[0] == pytest.approx(costs[1], abs=2e-5)


def _run(
    model: PreTrainedModel, lengths: Sequence[int], *, samples: int, arrival_every: int
) -> dict[tuple[str, int], list[tuple[int, float]]]:
    """Requests that arrive one by one while others run."""
    sampler = Sampler(reader_of(model), max_rows=7)
    waiting = list(lengths)
    found: dict[tuple[str, int], list[tuple[int, float]]] = {}
    turn = 0
    while waiting or sampler.running or sampler.waiting:
        if waiting and turn % arrival_every == 0:
            length = waiting.pop(0)
            sampler.add(
                SampleRequest(
                    key=str(length), prompt=tuple(prompt_of(length)), max_tokens=5 + length % 11,
                    seeds=tuple(range(length, length + samples)), top_p=0.9 if length % 2 else 1.0,
                    stop_ids=frozenset({9}),
                )
            )  # fmt: skip
        for event in sampler.step():
            if isinstance(event, TokenDrawn):
                own = found.setdefault((event.key, event.sample), [])
                own.append((event.token_id, event.logprob))
        turn += 1
    return found


@pytest.mark.usefixtures("step")
def test_samples_of_one_prompt_are_the_same_in_either_seat_of_a_line() -> None:
    model = tiny("llama, one query per key")
    prompt = tuple(prompt_of(100))

    def drawn(seeds: Sequence[int], *, apart: int) -> dict[str, list[tuple[int, float]]]:
        sampler = Sampler(reader_of(model), max_rows=8)
        found: dict[str, list[tuple[int, float]]] = {str(seed): [] for seed in seeds}
        for seed in seeds:
            request = SampleRequest(key=str(seed), prompt=prompt, seeds=(seed,), max_tokens=150)
            sampler.add(request)
            for event in [event for _ in range(apart) for event in sampler.step()]:
                if isinstance(event, TokenDrawn):
                    found[event.key].append((event.token_id, event.logprob))
        return found

    alone = {key: own for seed in range(4) for key, own in drawn([seed], apart=151).items()}
    together = drawn([0, 1, 2, 3], apart=40)
    the_other_way = drawn([3, 2, 1, 0], apart=40)

    for key, own in alone.items():
        assert len(own) == 150
        assert together[key] == own[: len(together[key])]
        assert the_other_way[key] == own[: len(the_other_way[key])]
    assert len(together["0"]) == len(the_other_way["3"]) == 150


def test_a_prompt_is_read_once_and_its_beginning_not_again() -> None:
    model = tiny("llama")
    sampler = Sampler(TransformersReader(model), max_rows=16)
    first, longer = prompt_of(150), [*prompt_of(150), *prompt_of(40, seed=1)]

    def ask(key: str, prompt: Sequence[int]) -> tuple[int, list[int]]:
        sampler.add(SampleRequest(key=key, prompt=tuple(prompt), seeds=(1, 2, 3), max_tokens=6))
        tokens, cached = [], -1
        while sampler.running or sampler.waiting:
            for event in sampler.step():
                if isinstance(event, PromptRead):
                    cached = event.cached_tokens
                else:
                    tokens.append(event.token_id)
        return cached, tokens

    assert ask("a", first)[0] == 0
    read_before = sampler.prefix_cache.read_tokens
    assert read_before == len(first)
    cached, tokens = ask("b", longer)
    assert cached == 2 * BLOCK
    assert sampler.prefix_cache.read_tokens - read_before == len(longer) - 2 * BLOCK

    fresh = Sampler(TransformersReader(model), max_rows=16, prefix_cache_bytes=0)
    sampler = fresh
    assert ask("b", longer) == (0, tokens)


def test_both_sides_of_a_turn_read_their_prompt_once() -> None:
    sampler = Sampler(TransformersReader(tiny("llama")), max_rows=16)
    for key in ("a", "b"):
        prompt = tuple(prompt_of(100))
        sampler.add(SampleRequest(key=key, prompt=prompt, seeds=(7,), max_tokens=4))

    events = [event for _ in range(4) for event in sampler.step()]

    read = {event.key: event.cached_tokens for event in events if isinstance(event, PromptRead)}
    drawn = [
        [event.token_id for event in events if isinstance(event, TokenDrawn) and event.key == key]
        for key in ("a", "b")
    ]
    assert read == {"a": 0, "b": 100}
    assert drawn[0] == drawn[1]
    assert len(drawn[0]) == 4


def test_the_prefix_cache_keeps_within_its_bytes() -> None:
    model = tiny("llama")
    block_bytes = BLOCK * TransformersReader(model).shape.bytes_per_token
    sampler = Sampler(TransformersReader(model), prefix_cache_bytes=3 * block_bytes)

    for seed in range(5):
        prompt = tuple(prompt_of(2 * BLOCK + 1, seed=seed))
        sampler.add(SampleRequest(key=str(seed), prompt=prompt, seeds=(0,), max_tokens=1))
        sampler.step()

    assert 0 < sampler.prefix_cache.bytes_used <= 3 * block_bytes


def test_cancelled_samples_leave_and_the_others_go_on_unchanged() -> None:
    model = tiny("llama")
    sampler = Sampler(TransformersReader(model), max_rows=8)
    for key in ("a", "b"):
        sampler.add(
            SampleRequest(key=key, prompt=tuple(prompt_of(20)), seeds=(1, 2), max_tokens=10)
        )
    sampler.step()

    sampler.cancel("a")
    sampler.cancel("b", sample=0)
    rest = [event for _ in range(20) for event in sampler.step()]

    assert {(event.key, event.sample) for event in rest} == {("b", 1)}
    assert sampler.running == 0
    alone = sample(
        model, [prompt_of(20)], samples_per_prompt=1, max_new_tokens=10, temperature=1.0,
        seeds=[[2]], stop_ids=(),
    )[0][0]  # fmt: skip
    assert [event.token_id for event in rest] == alone.token_ids[2:]


def test_prompt_logprobs_are_those_of_a_plain_forward() -> None:
    model = tiny("llama")
    prompt = prompt_of(100)
    sampler = Sampler(TransformersReader(model))
    sampler.add(
        SampleRequest(
            key="a", prompt=tuple(prompt), seeds=(0,), max_tokens=0, top_logprobs=2,
            prompt_logprobs=True,
        )
    )  # fmt: skip

    (event,) = sampler.step()

    assert isinstance(event, PromptRead)
    plain = naive_logprobs(model, prompt[:1], prompt[1:], temperature=1.0)
    assert torch.allclose(torch.tensor(event.logprobs), plain, atol=5e-5)
    assert [len(top) for top in event.tops] == [2] * 99
    assert sampler.running == sampler.waiting == 0
