"""Whole prompts as packed rows leave behind what reading them piece by piece does."""

from collections.abc import Iterator

import pytest
import torch

from modelserving.lm.packed_llama import leave_to_transformers
from modelserving.lm.packed_reading import PackedReader, packed_reader_of
from modelserving.lm.reading import Reader, TransformersReader
from modelserving.lm.rollouts import sample
from modelserving.lm.sample_requests import PromptRead, SampleRequest
from modelserving.lm.sampler import Sampler
from modelserving.lm.slot_attention import Piece
from modelserving.lm.slots import PromptKeyValues
from tests.modelserving.lm.test_sampler import CONFIGS, prompt_of, tiny

LENGTHS = (1, 65, 130, 7, 64)
PACKED = (
    "llama", "llama, one query per key", "llama, angles of longer sequences grow",
    "qwen2, other angles of longer sequences", "qwen2, four queries per key", "mistral, sliding window",
)  # fmt: skip


@pytest.fixture(params=[1, 2])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def read(reader: Reader) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    stores = [PromptKeyValues(shape=reader.shape, tokens=length) for length in LENGTHS]
    pieces = [
        Piece(token_ids=tuple(prompt_of(length)), prompt=store)
        for length, store in zip(LENGTHS, stores, strict=True)
    ]
    with torch.inference_mode():
        logits = reader.read_pieces(pieces, all_logits=False)
    assert [store.filled for store in stores] == list(LENGTHS)
    return logits, [store.values for store in stores]


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("name", PACKED)
def test_logits_keys_and_values_are_those_of_the_general_reader(name: str):
    ours = packed_reader_of(tiny(name))
    assert isinstance(ours, PackedReader)

    torch.testing.assert_close(read(ours), read(TransformersReader(tiny(name))))


def test_other_models_are_read_as_ever():
    adapted = tiny("llama")
    leave_to_transformers(adapted.base_model)
    others = [tiny(name) for name in CONFIGS if name not in PACKED]

    for model in (adapted, *others):
        assert not isinstance(packed_reader_of(model), PackedReader)


def test_a_step_reads_as_many_whole_prompts_as_its_budget_holds():
    sampler = Sampler(
        packed_reader_of(tiny("llama")),
        prefix_cache_bytes=0,
        prompt_tokens_per_step=70,
    )
    for number, length in enumerate((60, 40, 200, 3)):
        sampler.add(
            SampleRequest(
                key=str(number), prompt=tuple(prompt_of(length)), seeds=(number,), max_tokens=2
            )
        )

    read_in = [
        [event.key for event in sampler.step() if isinstance(event, PromptRead)] for _ in range(3)
    ]

    assert read_in == [["0", "1"], ["2"], ["3"]]


def test_nothing_is_taken_from_a_cache_and_nothing_told_of_prompts():
    sampler = Sampler(packed_reader_of(tiny("llama")))
    long = tuple(prompt_of(130))
    for key, prompt in (("block", long[:64]), ("beyond", long)):
        sampler.add(SampleRequest(key=key, prompt=prompt, seeds=(1,), max_tokens=2))
        while sampler.running or sampler.waiting:
            sampler.step()

    assert sampler.prefix_cache.bytes_used == 0
    with pytest.raises(ValueError, match="log-probabilities"):
        sampler.add(
            SampleRequest(key="told", prompt=long, seeds=(1,), max_tokens=2, prompt_logprobs=True)
        )


def test_sampling_inside_inference_mode_crosses_threads(threads: int):
    prompts, seeds = [prompt_of(30), prompt_of(50)], [[1], [2]]

    def drawn() -> list[list[int]]:
        found = sample(
            tiny("llama"), prompts, samples_per_prompt=1, max_new_tokens=3, temperature=1.0,
            seeds=seeds, stop_ids=(),
        )  # fmt: skip
        return [each.token_ids for (each,) in found]

    with torch.inference_mode():
        inside = drawn()

    assert threads == torch.get_num_threads()
    assert inside == drawn()
