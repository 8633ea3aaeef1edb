"""Room for keys and values: as much as is drawn, given back, and nothing of who sat there before."""

import itertools
from dataclasses import replace

import pytest
import torch

from modelserving.lm import slot_rows
from modelserving.lm.reading import TransformersReader
from modelserving.lm.sample_requests import SampleRequest, TokenDrawn
from modelserving.lm.sampler import Sampler
from modelserving.lm.slots import KeyValueShape, Slots
from tests.modelserving.lm.test_sampler import tiny

SHAPE = KeyValueShape(layers=2, heads=1, width=4, dtype=torch.float32, device=torch.device("cpu"))


def test_room_grows_with_what_is_drawn_not_with_what_may_be():
    sampler = Sampler(TransformersReader(tiny("gpt2")), prefix_cache_bytes=0)
    sampler.add(_request(tokens=400))

    sizes = [sampler.bytes_used for _ in range(400) if sampler.step()]

    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[-1] / 3


def test_lines_that_grow_keep_their_numbers():
    slots = Slots(shape=SHAPE, seats=1)
    slots.make_room(lines=1, tokens=64)
    keys, values = slots.layer(1)
    keys[0, :, :64], values[0, :, :64] = 1.0, 2.0

    slots.make_room(lines=9, tokens=65)

    keys, values = slots.layer(1)
    assert keys.shape == values.shape == (16, 1, 128, 4)
    assert keys.sum() == 64 * 4
    assert values.sum() == 2 * 64 * 4
    assert slots.bytes_used == sum(each.nbytes for layer in (0, 1) for each in slots.layer(layer))


def test_large_lines_go_with_the_last_sample(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(slot_rows, "KEPT_BYTES", 0)
    sampler = Sampler(TransformersReader(tiny("gpt2")), prefix_cache_bytes=0)
    before = _drawn(sampler)

    assert sampler.bytes_used == 0
    assert _drawn(sampler) == before


def test_what_is_no_number_does_not_reach_the_next_sample():
    sampler = Sampler(TransformersReader(tiny("gpt2")), prefix_cache_bytes=0)
    before = _drawn(sampler)
    with torch.inference_mode():
        for store in itertools.chain(*sampler._running._slots._stores):
            store.fill_(float("nan"))

    assert _drawn(sampler) == before


def test_what_is_no_number_does_not_reach_the_sample_that_moves_into_its_place():
    found = []
    for value in (0.5, float("nan")):
        sampler = Sampler(TransformersReader(tiny("gpt2")), prefix_cache_bytes=0)
        long = replace(_request(tokens=40), key="long", prompt=tuple(range(3, 15)))
        sampler.add(long)
        sampler.add(_request(tokens=20))
        events = [event for _ in range(6) for event in sampler.step()]
        with torch.inference_mode():
            for store in itertools.chain(*sampler._running._slots._stores):
                store[0, :, len(long.prompt) + 4] = value
        sampler.cancel("long")
        events += [event for _ in range(14) for event in sampler.step()]
        drawn = [each for each in events if isinstance(each, TokenDrawn) and each.key == "one"]
        found.append([(each.token_id, each.logprob) for each in drawn])

    assert len(found[0]) == 20
    assert found[1] == found[0]


def _request(*, tokens: int) -> SampleRequest:
    return SampleRequest(
        key="one", prompt=tuple(range(3, 11)), seeds=(5,), max_tokens=tokens, temperature=1.0,
        top_p=1.0, stop_ids=frozenset(),
    )  # fmt: skip


def _drawn(sampler: Sampler) -> list[int]:
    sampler.add(_request(tokens=20))
    events = [event for _ in range(20) for event in sampler.step()]
    return [event.token_id for event in events if isinstance(event, TokenDrawn)]
