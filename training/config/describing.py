"""The settings of each kind of run in words: name, default, and the remark beside it in the source.

It does not know what a setting does beyond that remark.
"""

import dataclasses
import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_type_hints

from training.config.common import RunConfig

FIELD = re.compile(r"^    (\w+): .*")


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One setting, by the name that `--set` takes."""

    name: str
    default: Any
    remark: str  # empty where its name says all


def settings_of(config: RunConfig) -> list[Setting]:
    """Every setting of a configuration with its present value, nested ones by `lora.rank`."""
    return _settings(config, prefix="")


def in_plain(value: Any) -> Any:
    """A setting's value as JSON has it."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, tuple):
        return [in_plain(each) for each in value]
    return dict(value) if isinstance(value, Mapping) else value


def _settings(config: Any, *, prefix: str) -> list[Setting]:
    remarks: dict[str, str] = {}
    for owner in reversed(type(config).__mro__):
        if dataclasses.is_dataclass(owner):
            remarks |= {name: said for name, said in _remarks(owner).items() if said}
    found: list[Setting] = []
    for name in get_type_hints(type(config)):
        value = getattr(config, name)
        if name == "kind":
            continue
        if dataclasses.is_dataclass(value):
            found += _settings(value, prefix=f"{prefix}{name}.")
        else:
            found.append(
                Setting(name=f"{prefix}{name}", default=value, remark=remarks.get(name, ""))
            )
    return found


def _remarks(owner: type) -> dict[str, str]:
    """Remarks beside each field, or on the lines above it."""
    remarks: dict[str, str] = {}
    above: list[str] = []
    lines = inspect.getsource(owner).splitlines()
    for index, line in enumerate(lines):
        text = line.strip()
        if text.startswith("def "):
            break
        if text.startswith("#"):
            above.append(text.removeprefix("#").strip())
            continue
        match = FIELD.match(line)
        if match:
            beside = [line] if not line.rstrip().endswith("(") else lines[index : index + 3]
            said = [part.partition("#")[2].strip() for part in beside if "#" in part]
            remarks[match[1]] = " ".join(above + said)
        above = []
    return remarks
