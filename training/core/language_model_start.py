"""What a language-model run starts from: tokenizer, model, training and held-out sources.

It does not know the training loop.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from modelserving.core.adapters import whole_weights
from modelserving.core.architectures import CheckpointRefused, dialogue_format_of
from modelserving.core.dialogue import DialogueFormat
from modelserving.lm.attention import without_dropout
from modelserving.lm.loading import load_language_model, load_tokenizer
from modelserving.lm.positions import positions_of
from modelserving.lm.tokenizer import PAD, TextTokenizer
from training.config import ConfigError, LanguageModelConfig
from training.core.corpus import Source, load_corpus, source_of
from training.core.data import chosen_documents, read_release
from training.core.run_directory import InputRefused, RunDirectory
from training.core.sharding import loading, placed, shard


@dataclass(frozen=True, kw_only=True)
class Start:
    """Everything a run has before its first step."""

    model: PreTrainedModel
    tokenizer_directory: Path
    training: dict[str, Source]
    held_out: dict[str, Source]
    parents: list[str]


def open_start(run: RunDirectory, *, config: LanguageModelConfig) -> Start:
    """Verify and read every input: a corpus or a release, and perhaps an initial checkpoint."""
    initial = run.inputs("initial") if run.has_input("initial") else None
    corpus = run.inputs("corpus") if run.has_input("corpus") else None
    release = run.inputs("release") if run.has_input("release") else None
    if (corpus is None) == (release is None):
        raise InputRefused("inputs.json needs either a corpus or a release, and not both")
    if initial is None and corpus is None:
        raise InputRefused("a run on a release needs an initial checkpoint: name it in inputs.json")
    tokenizer_directory = whole_weights(initial) if initial else corpus / "tokenizer"  # type: ignore[operator]  # one is there
    tokenizer = load_tokenizer(tokenizer_directory)
    layout = dialogue_format_of(tokenizer_directory)
    if layout.format == "chat_template":
        raise ConfigError(
            "language_model training renders dialogues with role tokens or as HH text: "
            'write "format" in the checkpoint\'s dialogue.json'
        )
    model = _model(initial, config=config, tokenizer=tokenizer, layout=layout)
    without_dropout(placed(model, **loading(config, ranks=run.ranks, is_trained=True))).train()
    _check_block(config, model=model)
    shard(model, config=config, ranks=run.ranks)
    training, held_out = _sources(
        corpus=corpus, release=release, tokenizer=tokenizer, layout=layout, config=config
    )
    roles = [role for role in ("initial", "corpus", "release") if run.has_input(role)]
    return Start(
        model=model,
        tokenizer_directory=tokenizer_directory,
        training=training,
        held_out=held_out,
        parents=[run.input_hash(role) for role in roles],
    )


def new_model(
    config: LanguageModelConfig, *, tokenizer: TextTokenizer, layout: DialogueFormat
) -> LlamaForCausalLM:
    """A Llama with tied embeddings from nothing, seeded by the caller."""
    shape = config.shape
    llama = LlamaConfig(
        vocab_size=tokenizer.vocabulary_size,
        hidden_size=shape.hidden_size,
        intermediate_size=shape.intermediate_size,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.attention_heads,
        num_key_value_heads=shape.key_value_heads,
        max_position_embeddings=shape.context_tokens,
        tie_word_embeddings=True,
        attention_dropout=0.0,
        bos_token_id=None,
        eos_token_id=tokenizer.token_id(layout.end_of_turn),
        pad_token_id=tokenizer.token_id(PAD),
        initializer_range=0.02,
    )
    return LlamaForCausalLM(llama)


def _model(
    initial: Path | None,
    *,
    config: LanguageModelConfig,
    tokenizer: TextTokenizer,
    layout: DialogueFormat,
) -> PreTrainedModel:
    if initial is None:
        model: PreTrainedModel = new_model(config, tokenizer=tokenizer, layout=layout)
    else:
        try:
            model = load_language_model(initial, dtype=torch.float32).model
        except CheckpointRefused as refused:
            raise InputRefused(f"the initial checkpoint cannot be used: {refused}") from None
    if config.activation_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    return model


def _check_block(config: LanguageModelConfig, *, model: PreTrainedModel) -> None:
    limit = positions_of(model.config)
    if limit is not None and config.block_tokens > limit:
        raise ConfigError(
            f"block_tokens {config.block_tokens} is beyond the model's {limit} positions: lower it"
        )


def _sources(
    *,
    corpus: Path | None,
    release: Path | None,
    tokenizer: TextTokenizer,
    layout: DialogueFormat,
    config: LanguageModelConfig,
) -> tuple[dict[str, Source], dict[str, Source]]:
    """Training and held-out sources by name."""
    if corpus is not None:
        training, held_out = (
            load_corpus(
                corpus, part, tokenizer=tokenizer, layout=layout, block_tokens=config.block_tokens
            )
            for part in ("train", "valid")
        )
        return training, held_out
    assert release is not None
    encoded = [
        source_of(
            "release",
            list(chosen_documents(read_release(release, split))),
            tokenizer=tokenizer,
            layout=layout,
            block_tokens=config.block_tokens,
        )
        for split in ("train", "test")
    ]
    return {"release": encoded[0]}, {"release": encoded[1]}
