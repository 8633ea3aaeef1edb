"""Prompts are read in pieces: the same bits however they are cut, and a shared beginning once."""

import math
from collections.abc import Sequence

import pytest
import torch

from modelserving.lm.llama_body import is_llama_like
from modelserving.lm.llama_reading import reader_of
from modelserving.lm.positions import positions_of
from modelserving.lm.prefix_cache import BLOCK, PrefixCache
from modelserving.lm.prompt_reading import PromptReading, WaitingPrompt
from modelserving.lm.reading import Reader, TransformersReader
from modelserving.lm.sample_requests import SampleRequest
from modelserving.lm.slots import PromptKeyValues
from tests.modelserving.lm.test_sampler import CONFIGS, prompt_of, tiny


def waiting(tokens: Sequence[int], *, reader: Reader, key: str = "a") -> WaitingPrompt:
    request = SampleRequest(key=key, prompt=tuple(tokens), seeds=(0,), max_tokens=1)
    store = PromptKeyValues(shape=reader.shape, tokens=len(tokens))
    return WaitingPrompt(request=request, store=store)


@torch.inference_mode()
def read(reader: Reader, prompts: Sequence[WaitingPrompt], *, budget: int) -> list[int]:
    """Read them all; how many tokens each pass took."""
    reading = PromptReading(reader, cache=PrefixCache(byte_limit=1 << 24), together=8)
    left, passes = list(prompts), []
    while left:
        finished, tokens = reading.read_on(left, budget=budget)
        left = [prompt for prompt in left if prompt not in finished]
        passes.append(tokens)
    return passes


@pytest.mark.parametrize("name", [name for name in CONFIGS if is_llama_like(tiny(name))])
def test_a_prompt_leaves_the_same_bits_in_whatever_pieces_it_is_read(name: str) -> None:
    reader = reader_of(tiny(name))
    length = min(300, positions_of(CONFIGS[name]) or 300)
    pieces = math.ceil(length / BLOCK)
    alone, cut, beside = (waiting(prompt_of(length), reader=reader) for _ in range(3))
    others = [waiting(prompt_of(length), reader=reader, key=str(length)) for length in (7, 130)]

    passes = read(reader, [alone], budget=1024)
    assert len(read(reader, [cut], budget=BLOCK)) == pieces
    read(reader, [others[0], beside, others[1]], budget=200)

    assert len(passes) == (1 if reader.piece_tokens > BLOCK else pieces)
    for other in (cut, beside):
        assert torch.equal(other.store.values, alone.store.values)
        assert torch.equal(other.logits, alone.logits)


def test_a_prompt_waits_for_no_more_than_the_beginning_that_it_shares() -> None:
    reader = TransformersReader(tiny("llama"))
    system, story = prompt_of(BLOCK, seed=1), prompt_of(3 * BLOCK, seed=2)
    first = waiting([*system, *story, 5], reader=reader)
    same_story = waiting([*system, *story, 6, 7], reader=reader)
    same_system = waiting([*system, *prompt_of(2 * BLOCK, seed=3)], reader=reader)
    stranger = waiting(prompt_of(BLOCK, seed=4), reader=reader)

    passes = read(reader, [first, same_story, same_system, stranger], budget=1024)

    assert first.cached_tokens == stranger.cached_tokens == 0
    assert same_story.cached_tokens == 4 * BLOCK
    assert same_system.cached_tokens == BLOCK
    assert passes == [2 * BLOCK, 2 * BLOCK, 2 * BLOCK, BLOCK, 3]


def test_a_budget_is_spent_on_those_who_came_first() -> None:
    reader = TransformersReader(tiny("llama"))
    reader.piece_tokens = 1024
    prompts = [waiting(prompt_of(200, seed=seed), reader=reader) for seed in range(3)]

    passes = read(reader, prompts, budget=450)

    assert passes == [392, 208]
