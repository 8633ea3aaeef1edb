"""Turn configurations into JSON and back, and apply `--set key=value` with the field's type.

It does not know what any field means: the dataclasses check their own values.
"""

import dataclasses
import difflib
import json
import math
import types
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Union, cast, get_args, get_origin, get_type_hints

from training.config.common import ConfigError, RunConfig
from training.config.evaluation import EvaluationConfig
from training.config.language_models import (
    ContextDistillationConfig,
    LanguageModelConfig,
)
from training.config.ppo import BestOfKConfig, PPOConfig
from training.config.preference import (
    PreferenceModelConfig,
    PreferencePretrainingConfig,
)

KINDS: dict[str, type[RunConfig]] = {
    "language_model": LanguageModelConfig,
    "context_distillation": ContextDistillationConfig,
    "preference_pretraining": PreferencePretrainingConfig,
    "preference_model": PreferenceModelConfig,
    "ppo": PPOConfig,
    "best_of_k": BestOfKConfig,
    "evaluation": EvaluationConfig,
}
LARGEST = 2**63 - 1
# settings that are gone: what stored configurations may still hold, and why they may hold nothing else
GONE = {
    "lora.dropout": (0.0, "scores and ratios are those of the published weights, without dropout")
}


def kind_of(config: RunConfig) -> str:
    """The run kind a configuration belongs to."""
    return str(config.kind)  # type: ignore[attr-defined]  # every kind declares it


def config_class(kind: str) -> type[RunConfig]:
    """The dataclass of a run kind."""
    if kind not in KINDS:
        raise ConfigError(f"kind is {kind!r}: set it to one of {', '.join(KINDS)}")
    return KINDS[kind]


def from_dict(stored: Mapping[str, Any]) -> RunConfig:
    """Check and build a configuration; its `kind` decides the class."""
    if "kind" not in stored:
        raise ConfigError(f"the configuration has no kind: set it to one of {', '.join(KINDS)}")
    return cast("RunConfig", _build(config_class(str(stored["kind"])), stored, path=""))


def to_dict(config: RunConfig) -> dict[str, Any]:
    """Plain values for config.json; `from_dict` gives the same configuration back."""
    return cast("dict[str, Any]", json.loads(json.dumps(dataclasses.asdict(config))))


def choices_of(kind: str) -> dict[str, tuple[str, ...]]:
    """The settings that take one of a few words, or several where the value is a list, and those words."""
    hints = get_type_hints(config_class(kind))
    words = {name: _words(hint) for name, hint in hints.items() if name != "kind"}
    return {name: found for name, found in words.items() if found}


def _words(hint: Any) -> tuple[str, ...]:
    if hint is bool:
        return ("true", "false")
    if get_origin(hint) is tuple:
        hint = get_args(hint)[0]
    return get_args(hint) if get_origin(hint) is Literal else ()


def with_overrides(config: RunConfig, overrides: Mapping[str, str]) -> RunConfig:
    """Apply `--set key=value` texts; nested fields are written `lora.rank`."""
    stored = to_dict(config)
    for key, text in overrides.items():
        target, hints = stored, get_type_hints(type(config))
        *parents, last = key.split(".")
        for depth, parent in enumerate(parents):
            if hints:
                _check_key(parent, known=list(hints), path=_path_to(parents[:depth]))
            inner = target.get(parent)
            if not isinstance(inner, dict):
                raise ConfigError(f"unknown key {key}: {parent} has no named values, set it whole")
            target = inner
            hints = get_type_hints(hints[parent]) if dataclasses.is_dataclass(hints[parent]) else {}
        if hints:
            _check_key(last, known=list(hints), path=_path_to(parents))
        target[last] = parse_text(text, hint=hints.get(last, float), key=key)
    return from_dict(stored)


def _path_to(parents: Sequence[str]) -> str:
    return "".join(f"{parent}." for parent in parents)


def parse_text(text: str, *, hint: Any, key: str) -> Any:
    """Read a command-line text as the type of the field."""
    if hint is str or get_origin(hint) is Literal:
        return text
    if hint is bool:
        words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
        if text.lower() not in words:
            raise ConfigError(f"{key} is {text!r}: write true or false")
        return words[text.lower()]
    if hint in (int, float):
        try:
            return hint(text)
        except ValueError:
            noun = "a whole number" if hint is int else "a number"
            raise ConfigError(f"{key} is {text!r}: write {noun}") from None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        is_list = get_origin(hint) is tuple and (get_args(hint)[0] is str or bool(_words(hint)))
        if is_list and not text.lstrip().startswith(("[", "{")):  # words between commas
            return [part.strip() for part in text.split(",") if part.strip()]
        raise ConfigError(f"{key} is {text!r}: write it as JSON") from None


def _check_key(key: str, *, known: list[str], path: str) -> None:
    if key in known:
        return
    known = [name for name in known if name != "kind"]
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    cure = f"did you mean {path}{near[0]!s}?" if near else f"known keys: {', '.join(sorted(known))}"
    raise ConfigError(f"unknown key {path}{key}: {cure}")


def _build(target: type[Any], stored: Mapping[str, Any], *, path: str) -> Any:
    hints = get_type_hints(target)
    values: dict[str, Any] = {}
    for key, value in stored.items():
        if _is_gone(f"{path}{key}", value=value):
            continue
        _check_key(key, known=list(hints), path=path)
        values[key] = _convert(value, hint=hints[key], path=f"{path}{key}")
    try:
        return target(**values)
    except TypeError as missing:
        raise ConfigError(f"{path or 'configuration'}: {missing}") from None


def _is_gone(path: str, *, value: Any) -> bool:
    if path not in GONE:
        return False
    idle, reason = GONE[path]
    if value != idle:
        raise ConfigError(f"{path} is {value!r}: {reason}; leave it out")
    return True


def _convert(value: Any, *, hint: Any, path: str) -> Any:
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, Mapping):
            raise ConfigError(f"{path} is {value!r}: write an object of named values")
        return _build(cast("type[Any]", hint), value, path=f"{path}.")
    origin = get_origin(hint)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise ConfigError(f"{path} is {value!r}: write a list")
        inner = get_args(hint)[0]
        return tuple(_convert(v, hint=inner, path=f"{path}[{i}]") for i, v in enumerate(value))
    if origin in (Union, types.UnionType):
        return _within_bounds(value, path=path)
    if origin is not None and isinstance(origin, type) and issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            raise ConfigError(f"{path} is {value!r}: write an object of named values")
        inner = get_args(hint)[1]
        return {str(k): _convert(v, hint=inner, path=f"{path}.{k}") for k, v in value.items()}
    if origin is Literal:
        if value not in get_args(hint):
            raise ConfigError(f"{path} is {value!r}: set it to one of {get_args(hint)}")
        return value
    return _number_or_text(value, hint=hint, path=path)


def _number_or_text(value: Any, *, hint: Any, path: str) -> Any:
    _within_bounds(value, path=path)
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if hint is int and isinstance(value, float) and value.is_integer():
        return _within_bounds(int(value), path=path)
    if type(value) is not hint:
        raise ConfigError(f"{path} is {value!r}: it must be of type {hint.__name__}")
    return value


def _within_bounds(value: Any, *, path: str) -> Any:
    """Refuse numbers that JSON or 64 bits cannot hold: they would break what stores them."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{path} is {value!r}: write a finite number")
    if isinstance(value, int) and abs(value) > LARGEST:
        raise ConfigError(f"{path} is beyond 64 bits: write at most {LARGEST}")
    return value
