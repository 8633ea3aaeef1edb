"""Models as transformers saves them are taken in and load in the model server's own loader."""

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from modelserving.core.dialogue import encode_prompt
from modelserving.importing import import_checkpoint
from modelserving.lm.loading import load_language_model
from modelserving.registry import directory_of

pytestmark = pytest.mark.django_db
TEMPLATE = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}assistant:"
SIZES = {"vocab_size": 300, "bos_token_id": 256, "eos_token_id": 256, "pad_token_id": 256}


def saved(model, directory, *, template=None):
    letters = pre_tokenizers.ByteLevel.alphabet()
    vocabulary = {letter: number for number, letter in enumerate(sorted(letters))}
    bare = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    bare.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bare, eos_token="<|end|>")
    tokenizer.chat_template = template
    tokenizer.save_pretrained(directory)
    model.save_pretrained(directory)
    (directory / "training_args.bin").write_bytes(b"\x80\x04evil")
    return directory


def gpt2():
    return GPT2LMHeadModel(GPT2Config(n_embd=32, n_layer=1, n_head=2, n_positions=128, **SIZES))


def qwen2():
    return Qwen2ForCausalLM(
        Qwen2Config(
            hidden_size=32, intermediate_size=48, num_hidden_layers=1, num_attention_heads=2,
            num_key_value_heads=1, max_position_embeddings=128, **SIZES,
        )
    )  # fmt: skip


@pytest.mark.parametrize(
    ("make", "template", "wanted", "layout"),
    [
        (gpt2, None, None, "hh_text"),
        (qwen2, TEMPLATE, None, "chat_template"),
        (qwen2, TEMPLATE, "hh_text", "hh_text"),
    ],
)
def test_a_saved_model_is_imported_and_loads(tmp_path, make, template, wanted, layout):
    torch.manual_seed(0)
    model = make()
    source = saved(model, tmp_path / "theirs", template=template)

    checkpoint = import_checkpoint(source, dialogue_format=wanted)
    loaded = load_language_model(directory_of(checkpoint))

    assert loaded.dialogue_format.format == layout
    assert loaded.hash == checkpoint.hash
    weights = {p.data_ptr(): p.numel() for p in model.parameters()}
    assert checkpoint.parameters == sum(weights.values())
    prompt = encode_prompt(
        [{"role": "user", "content": "Hi"}], encoder=loaded.tokenizer,
        layout=loaded.dialogue_format, room=64,
    )  # fmt: skip
    logits = loaded.model(torch.tensor([prompt.token_ids])).logits
    assert bool(torch.isfinite(logits).all())
