"""The checkpoint that ships with the project: small, whole, standard, and able to answer."""

from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from modelserving.core.artifacts import verify
from modelserving.core.dialogue import encode_prompt
from modelserving.lm.loading import load_language_model

STARTER = Path(__file__).resolve().parents[3] / "modelserving" / "starter"
ASK = [{"role": "user", "content": "How do I make coffee?"}]


def test_the_starter_is_whole_and_small() -> None:
    manifest = verify(STARTER)

    assert manifest.kind == "language_model"
    assert manifest.files["model.safetensors"]["size"] <= 20_000_000
    weights = load_language_model(STARTER).model
    assert 5_000_000 <= sum(p.numel() for p in weights.parameters()) <= 10_000_000


def test_plain_transformers_render_and_continue_the_same_tokens() -> None:
    ours = load_language_model(STARTER)
    plain = AutoModelForCausalLM.from_pretrained(STARTER, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(STARTER)

    ids = encode_prompt(
        ASK, encoder=ours.tokenizer, layout=ours.dialogue_format, room=100
    ).token_ids
    rendered = tokenizer.apply_chat_template(ASK, add_generation_prompt=True, return_dict=False)

    assert ids == rendered
    tensor = torch.tensor([ids])
    with torch.no_grad():
        assert torch.equal(ours.model(tensor).logits, plain(tensor).logits)


def test_padding_is_not_the_end_of_a_turn() -> None:
    tokenizer = AutoTokenizer.from_pretrained(STARTER)

    assert tokenizer.pad_token_id != tokenizer.eos_token_id
    assert tokenizer.convert_ids_to_tokens(tokenizer.eos_token_id) == "<|endoftext|>"
    assert "<|score|>" in tokenizer.get_vocab()
