"""Whole prompts as packed rows leave behind what reading them piece by piece does."""

from collections.abc import Iterator

import pytest
import torch

from modelserving.lm.packed_llama import leave_to_transformers
from modelserving.lm.packed_reading import PackedReader, packed_reader_of
from modelserving.lm.reading import Reader, TransformersReader
from modelserving.lm.sample_requests import PromptRead, SampleRequest
from modelserving.lm.sampler import Sampler
from modelserving.lm.slot_attention import Piece
from modelserving.lm.slots import PromptKeyValues
from tests.modelserving.lm.test_sampler import CONFIGS, prompt_of, tiny

LENGTHS = (1, 65, 130, 7, 64)
PACKED = (
    "llama", "llama, one query per key", "qwen2, four queries per key", "mistral, sliding window",
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
        whole_prompts=True,
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
