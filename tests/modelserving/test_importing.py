"""Models as transformers saves them are taken in and load in the model server's own loader."""

import shutil
from pathlib import Path

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
from modelserving.registry import CheckpointNotRegistered, directory_of

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


@pytest.mark.parametrize(
    ("file", "content"),
    [("model.safetensors", b"cut short"), ("config.json", b'{"architectures": ["Evil"]}')],
)
def test_one_of_ours_that_was_damaged_is_refused_by_its_own_path(tmp_path, settings, file, content):
    damaged = tmp_path / "damaged"
    shutil.copytree(settings.STARTER_CHECKPOINT, damaged)
    import_checkpoint(damaged)  # known by its manifest: only its bytes tell that it is damaged
    (damaged / file).write_bytes(content)

    with pytest.raises(CheckpointNotRegistered) as refused:
        import_checkpoint(damaged)

    assert ".partial" not in str(refused.value)


def test_links_out_of_the_directory_are_refused_save_into_the_hubs_cache(tmp_path):
    blobs = tmp_path / "models--a--b" / "blobs"
    snapshot = tmp_path / "models--a--b" / "snapshots" / "1"
    saved(gpt2(), snapshot)
    blobs.mkdir()
    (snapshot / "config.json").rename(blobs / "c0ffee")
    (snapshot / "config.json").symlink_to(Path("..", "..", "blobs", "c0ffee"))
    assert import_checkpoint(snapshot).kind == "language_model"

    (snapshot / "tokenizer.json").unlink()
    (snapshot / "tokenizer.json").symlink_to("/etc/passwd")
    with pytest.raises(CheckpointNotRegistered, match="out of its directory"):
        import_checkpoint(snapshot)
