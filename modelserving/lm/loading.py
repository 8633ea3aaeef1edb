"""Load verified checkpoints: safetensors and JSON of listed architectures, nothing that could run code.

It does not know where checkpoints are registered or what they are used for.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    PretrainedConfig,
    PreTrainedModel,
)
from transformers.utils import logging as transformers_logging

from modelserving.core.artifacts import ArtefactError, Manifest, content_hash, verify
from modelserving.core.dialogue import DialogueFormat
from modelserving.lm.tokenizer import TextTokenizer, TokenizerFailure

transformers_logging.disable_progress_bar()

FAMILIES = (
    "Llama",
    "Qwen2",
    "Qwen3",
    "Mistral",
    "GPT2",
    "GPTNeoX",
    "Phi",
    "Phi3",
    "Gemma",
    "Gemma2",
    "Olmo2",
    "SmolLM3",
)
CAUSAL_ARCHITECTURES = frozenset(
    {f"{family}ForCausalLM" for family in FAMILIES} | {"GPT2LMHeadModel"}
)
SCORING_ARCHITECTURES = frozenset(f"{family}ForSequenceClassification" for family in FAMILIES)
REFUSED_KEYS = frozenset(
    {
        "auto_map",
        "trust_remote_code",
        "custom_pipelines",
        "custom_generate",
        "quantization_config",
        "_attn_implementation",
        "_attn_implementation_internal",
        "_attn_implementation_autoset",
        "attn_implementation",
        "_experts_implementation",
        "_experts_implementation_internal",
    }
)
ALLOWED_SUFFIXES = frozenset({".safetensors", ".json", ".jinja", ".txt", ".md", ".model", ""})
LANGUAGE_MODEL_KINDS = ("language_model", "policy")


class CheckpointRefused(Exception):
    """A checkpoint that is not loaded; the message names the reason and the cure."""


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """A model with everything needed to read and write dialogues."""

    model: PreTrainedModel
    tokenizer: TextTokenizer
    dialogue_format: DialogueFormat
    config: PretrainedConfig
    hash: str  # the checkpoint's identity


def load_language_model(
    directory: Path, *, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
) -> LoadedModel:
    """Load a language model or policy; refuses what is not verified or not listed."""
    return _load(
        directory,
        kinds=LANGUAGE_MODEL_KINDS,
        architectures=CAUSAL_ARCHITECTURES,
        auto_class=AutoModelForCausalLM,
        dtype=dtype,
        device=device,
    )


def load_preference_model(
    directory: Path, *, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
) -> LoadedModel:
    """Load a preference model, whose head gives one score."""
    loaded = _load(
        directory,
        kinds=("preference_model",),
        architectures=SCORING_ARCHITECTURES,
        auto_class=AutoModelForSequenceClassification,
        dtype=dtype,
        device=device,
    )
    if loaded.config.num_labels != 1:
        raise CheckpointRefused(
            f"{directory} has {loaded.config.num_labels} labels: a preference model has one score"
        )
    return loaded


def check_files(directory: Path) -> dict[str, Any]:
    """Refuse code, pickles and unlisted settings by name; returns the parsed config.json.

    Needs no manifest, so an import can ask before it makes one.
    """
    for path in sorted(directory.rglob("*")):
        if path.is_file() and path.suffix not in ALLOWED_SUFFIXES:
            raise CheckpointRefused(
                f"{path.name} is neither safetensors nor JSON: remove it, nothing else is loaded"
            )
    if not any(directory.glob("*.safetensors")):
        raise CheckpointRefused(f"{directory} has no *.safetensors: convert the weights first")
    for path in sorted(directory.glob("*.json")):
        stored = _read_json(path)
        for key in _keys(stored):
            if key in REFUSED_KEYS:
                raise CheckpointRefused(
                    f"{path.name} sets {key}, which could run or swap code: remove the key"
                )
    config = _read_json(directory / "config.json")
    if not isinstance(config, dict):
        raise CheckpointRefused(f"{directory / 'config.json'} holds no JSON object")
    return config


def check_architecture(config: dict[str, Any], *, allowed: frozenset[str]) -> str:
    """The one architecture that config.json names, if it is listed."""
    named = config.get("architectures") or []
    if len(named) != 1 or named[0] not in allowed:
        raise CheckpointRefused(
            f"architecture {named} is not one of {', '.join(sorted(allowed))}: "
            "use a checkpoint of a listed architecture"
        )
    return str(named[0])


def dialogue_format_of(directory: Path) -> DialogueFormat:
    """dialogue.json, or for a checkpoint from outside: its chat template, else HH text."""
    path = directory / "dialogue.json"
    if path.exists():
        return DialogueFormat.from_dict(_read_json(path))
    end = _special_token(_read_json(directory / "tokenizer_config.json").get("eos_token"))
    if end is None:
        raise CheckpointRefused(
            f"{directory} names no eos_token: write dialogue.json with its end_of_turn"
        )
    context = int(_read_json(directory / "config.json").get("max_position_embeddings", 1024))
    shared = {"end_of_turn": end, "end_of_context": end, "context_tokens": min(context, 4096)}
    if chat_template_of(directory):
        return DialogueFormat.from_dict({"format": "chat_template", **shared})
    return DialogueFormat.from_dict(
        {
            "format": "hh_text",
            "human": "\n\nHuman:",
            "assistant": "\n\nAssistant:",
            "stop_strings": ["\n\nHuman:"],
            **shared,
        }
    )


def chat_template_of(directory: Path) -> str | None:
    """The checkpoint's chat template as text, or None."""
    file = directory / "chat_template.jinja"
    if file.exists():
        return file.read_text(encoding="utf-8")
    stored = _read_json(directory / "tokenizer_config.json").get("chat_template")
    if isinstance(stored, list):  # several named templates
        stored = next((t["template"] for t in stored if t.get("name") == "default"), None)
    return stored if isinstance(stored, str) else None


def load_tokenizer(directory: Path) -> TextTokenizer:
    """The tokenizer of a checkpoint; its chat template is rendered in a sandbox."""
    path = directory / "tokenizer.json"
    if not path.exists():
        raise CheckpointRefused(
            f"{directory} has no tokenizer.json: save its fast tokenizer (save_pretrained) first"
        )
    stored = _read_json(directory / "tokenizer_config.json")
    specials = {
        name: token
        for name in ("bos_token", "eos_token", "pad_token")
        if (token := _special_token(stored.get(name))) is not None
    }
    return TextTokenizer.from_file(path, template=chat_template_of(directory), specials=specials)


def _load(
    directory: Path,
    *,
    kinds: tuple[str, ...],
    architectures: frozenset[str],
    auto_class: Any,
    dtype: torch.dtype,
    device: torch.device | str,
) -> LoadedModel:
    manifest = _verified(directory, kinds=kinds)
    check_architecture(check_files(directory), allowed=architectures)
    tokenizer = load_tokenizer(directory)
    layout = dialogue_format_of(directory)
    try:
        tokenizer.token_id(layout.end_of_turn)
    except TokenizerFailure as unfit:
        raise CheckpointRefused(f"{directory}: {unfit}") from None
    model, report = auto_class.from_pretrained(
        directory,
        dtype=dtype,
        local_files_only=True,
        trust_remote_code=False,
        use_safetensors=True,
        output_loading_info=True,
    )
    _check_weights(directory, report=report)
    return LoadedModel(
        model=model.to(device).eval(),
        tokenizer=tokenizer,
        dialogue_format=layout,
        config=model.config,
        hash=content_hash(manifest),
    )


def _verified(directory: Path, *, kinds: tuple[str, ...]) -> Manifest:
    try:
        manifest = verify(directory)
    except ArtefactError as damaged:
        raise CheckpointRefused(str(damaged)) from None
    if manifest.kind not in kinds:
        raise CheckpointRefused(
            f"{directory} is a {manifest.kind}, expected {' or '.join(kinds)}: choose another"
        )
    return manifest


def _check_weights(directory: Path, *, report: dict[str, Any]) -> None:
    """A weight that the file lacks would silently be random: refuse it."""
    for name in ("missing_keys", "mismatched_keys", "error_msgs"):
        if report.get(name):
            some = sorted(map(str, report[name]))[:3]
            raise CheckpointRefused(
                f"{directory}: {name} {some}: the weights do not fit config.json; export them anew"
            )


def _special_token(stored: Any) -> str | None:
    """A special token of tokenizer_config.json: text, or an object with `content`."""
    if isinstance(stored, dict):
        stored = stored.get("content")
    return stored if isinstance(stored, str) else None


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointRefused(f"{path} is missing: copy the whole checkpoint") from None
    except ValueError as broken:
        raise CheckpointRefused(f"{path} is not valid JSON ({broken})") from None


def _keys(stored: Any) -> Iterator[str]:
    if isinstance(stored, dict):
        for key, value in stored.items():
            yield str(key)
            yield from _keys(value)
    elif isinstance(stored, list):
        for value in stored:
            yield from _keys(value)
