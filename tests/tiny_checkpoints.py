"""Tiny checkpoints that load in milliseconds: random weights, a real tokenizer, a valid manifest.

Does not know what is tested with them.
"""

from functools import cache
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification

from modelserving.core.artifacts import content_hash, write_manifest
from modelserving.core.dialogue import DialogueFormat
from modelserving.lm.tokenizer import PAD, TextTokenizer, train_tokenizer, write_tokenizer

CONTEXT_TOKENS = 256
TEXTS = (
    "Hello there. How are you today? I am well, thank you. What would you like to talk about?",
    "Tell me a story about a dog and a cat. Once upon a time there was a small brown dog.",
    "Grüße aus Köln 🙂 と日本語 и русский, mit Ümläuten and emoji 🎉.",
)


def make_tiny_language_model(
    directory: Path, *, seed: int = 0, kind: str = "language_model", **sizes: Any
) -> str:
    """Write a tiny Llama with random weights; returns its content hash."""
    torch.manual_seed(seed)
    model = LlamaForCausalLM(_config(**sizes))
    return _publish(model, directory=directory, kind=kind, layout=_layout())


def make_tiny_preference_model(directory: Path, *, seed: int = 1, **sizes: Any) -> str:
    """Write a tiny preference model with random weights; returns its content hash."""
    torch.manual_seed(seed)
    model = LlamaForSequenceClassification(_config(num_labels=1, **sizes))
    layout = _layout(score_center=0.25)
    return _publish(model, directory=directory, kind="preference_model", layout=layout)


@cache
def tiny_tokenizer() -> TextTokenizer:
    """A byte-level BPE of 320 tokens over a few sentences."""
    return train_tokenizer(TEXTS, vocabulary_size=320, layout=_layout())


def _layout(**more: Any) -> DialogueFormat:
    return DialogueFormat(context_tokens=CONTEXT_TOKENS, **more)


def _config(**sizes: Any) -> LlamaConfig:
    tokenizer = tiny_tokenizer()
    shape: dict[str, Any] = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": CONTEXT_TOKENS,
        "tie_word_embeddings": False,
        **sizes,
    }
    end = tokenizer.token_id("<|endoftext|>")
    return LlamaConfig(
        vocab_size=tokenizer.vocabulary_size,
        bos_token_id=end,
        eos_token_id=end,
        pad_token_id=tokenizer.token_id(PAD),
        initializer_range=0.3,
        **shape,
    )


def _publish(
    model: LlamaForCausalLM | LlamaForSequenceClassification,
    *,
    directory: Path,
    kind: str,
    layout: DialogueFormat,
) -> str:
    directory.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(directory, safe_serialization=True)
    write_tokenizer(tiny_tokenizer(), directory=directory, layout=layout)
    manifest = write_manifest(
        directory, kind=kind, parents=[], config={}, code="", created="2026-01-01T00:00:00+00:00"
    )
    return content_hash(manifest)
