"""Angles that change with long sequences: within the positions that are served they are transformers' own."""

from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from modelserving.lm.llama_body import Turns
from modelserving.lm.llama_reading import LlamaReader, reader_of
from modelserving.lm.loading import load_language_model
from modelserving.lm.sample_requests import PromptRead, SampleRequest, TokenDrawn
from modelserving.lm.sampler import Sampler
from tests.tiny_checkpoints import make_tiny_language_model

ROOM = 200  # no power of two: a table that grew by doubling alone would reach beyond it
LONGROPE = {
    "rope_type": "longrope", "rope_theta": 1e4, "original_max_position_embeddings": ROOM,
    "factor": 2.0, "short_factor": [1.0, 1.1, 1.2, 1.3], "long_factor": [2.0, 4.0, 6.0, 8.0],
}  # fmt: skip
SIZES = {
    "dynamic": {
        "max_position_embeddings": ROOM,
        "rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0},
    },
    "longrope": {"max_position_embeddings": 2 * ROOM, "rope_parameters": LONGROPE},
}


LIKE = torch.zeros(1, 32)


def _rotary(name: str) -> nn.Module:
    config = AutoConfig.for_model("llama", hidden_size=32, num_attention_heads=4, **SIZES[name])
    return LlamaRotaryEmbedding(config)


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.usefixtures("step")
def test_logprobs_are_those_of_plain_transformers_up_to_the_last_position(
    tmp_path: Path, name: str
) -> None:
    make_tiny_language_model(tmp_path / "lm", **SIZES[name])
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "lm", dtype=torch.float32)
    loaded = load_language_model(tmp_path / "lm")
    reader = reader_of(loaded.model, takes_over=True)
    prompt = [5 + 7 * n % 300 for n in range(ROOM - 20)]
    sampler = Sampler(reader)
    sampler.add(
        SampleRequest(
            key="a", prompt=tuple(prompt), seeds=(1,), max_tokens=20, prompt_logprobs=True
        )
    )

    events = [event for _ in range(25) for event in sampler.step()]

    drawn = [event for event in events if isinstance(event, TokenDrawn)]
    (read,) = (event for event in events if isinstance(event, PromptRead))
    ids = torch.tensor([[*prompt, *(event.token_id for event in drawn)]])
    with torch.no_grad():
        logprobs = plain(ids).logits[0, :-1].log_softmax(dim=-1)
    expected = logprobs.gather(1, ids[0, 1:, None])[:, 0]
    found = torch.tensor([*read.logprobs, *(event.logprob for event in drawn)])
    assert isinstance(reader, LlamaReader)
    assert loaded.positions == ROOM == ids.shape[1]
    assert torch.allclose(found, expected, atol=5e-5)


@pytest.mark.parametrize("name", SIZES)
def test_angles_stay_the_same_while_the_table_grows(name: str) -> None:
    turns = Turns(_rotary(name), like=LIKE)
    plain, _ = _rotary(name)(LIKE, torch.arange(ROOM)[None])

    for longest in (1, 30, 129, ROOM):
        cosines, _ = turns.at(torch.arange(longest))
        assert torch.equal(cosines[:, 0], plain[0, :longest])


@pytest.mark.parametrize("name", SIZES)
def test_positions_beyond_those_the_angles_hold_for_are_not_turned(name: str) -> None:
    turns = Turns(_rotary(name), like=LIKE)

    with pytest.raises(AssertionError, match="angles"):
        turns.at(torch.tensor([ROOM]))
