"""What a checkpoint directory may contain: listed architectures, safetensors, JSON without keys that run code.

Reads names and JSON only; never opens weights, so no torch is needed to refuse a directory.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from modelserving.core.dialogue import HH_TEXT, DialogueFormat

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


class CheckpointRefused(Exception):
    """A checkpoint that is not loaded; the message names the reason and the cure."""


def check_files(directory: Path) -> dict[str, Any]:
    """Refuse code, pickles and unlisted settings by name; returns the parsed config.json.

    Needs no manifest, so an import can ask before it makes one.
    """
    check_names(directory)
    config = read_json(directory / "config.json")
    if not isinstance(config, dict):
        raise CheckpointRefused(f"{directory / 'config.json'} holds no JSON object")
    return config


def check_names(directory: Path) -> None:
    """Refuse files that could be code, and settings that could run or swap it."""
    for path in sorted(directory.rglob("*")):
        if path.is_file() and path.suffix not in ALLOWED_SUFFIXES:
            raise CheckpointRefused(
                f"{path.name} is neither safetensors nor JSON: remove it, nothing else is loaded"
            )
    if not any(directory.glob("*.safetensors")):
        raise CheckpointRefused(f"{directory} has no *.safetensors: convert the weights first")
    for path in sorted(directory.glob("*.json")):
        stored = read_json(path)
        for key in keys_of(stored):
            if key in REFUSED_KEYS:
                raise CheckpointRefused(
                    f"{path.name} sets {key}, which could run or swap code: remove the key"
                )


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
        return DialogueFormat.from_dict(read_json(path))
    end = special_token(read_json(directory / "tokenizer_config.json").get("eos_token"))
    if end is None:
        raise CheckpointRefused(
            f"{directory} names no eos_token: write dialogue.json with its end_of_turn"
        )
    context = int(read_json(directory / "config.json").get("max_position_embeddings", 1024))
    has_template = bool(chat_template_of(directory))
    layout = DialogueFormat(format="chat_template") if has_template else HH_TEXT
    return replace(layout, end_of_turn=end, end_of_context=end, context_tokens=min(context, 4096))


def chat_template_of(directory: Path) -> str | None:
    """The checkpoint's chat template as text, or None."""
    file = directory / "chat_template.jinja"
    if file.exists():
        return file.read_text(encoding="utf-8")
    stored = read_json(directory / "tokenizer_config.json").get("chat_template")
    if isinstance(stored, list):  # several named templates
        stored = next((t["template"] for t in stored if t.get("name") == "default"), None)
    return stored if isinstance(stored, str) else None


def special_token(stored: Any) -> str | None:
    """A special token of tokenizer_config.json: text, or an object with `content`."""
    if isinstance(stored, dict):
        stored = stored.get("content")
    return stored if isinstance(stored, str) else None


def read_json(path: Path) -> Any:
    """The parsed file; a missing or broken one is refused by name."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointRefused(f"{path} is missing: copy the whole checkpoint") from None
    except (ValueError, RecursionError) as broken:
        raise CheckpointRefused(f"{path} is not valid JSON ({broken})") from None


def keys_of(stored: Any) -> Iterator[str]:
    """Every key of a JSON value, however deep."""
    if isinstance(stored, dict):
        for key, value in stored.items():
            yield str(key)
            yield from keys_of(value)
    elif isinstance(stored, list):
        for value in stored:
            yield from keys_of(value)
