"""Make a run directory by hand: `python -m training.core.new_run RUN_DIR --kind … --input …`.

It does not run anything and knows no database; the console makes the same two files.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from modelserving.core.artifacts import ArtefactError, write_durably
from training.config import ConfigError, from_dict, presets, to_dict, with_overrides
from training.core.run_directory import reference


def write_run(path: Path, *, config: dict[str, object], inputs: dict[str, dict[str, str]]) -> None:
    """Write config.json and inputs.json of a new run directory."""
    path.mkdir(parents=True)
    write_durably(path / "config.json", json.dumps(config, indent=2) + "\n")
    write_durably(path / "inputs.json", json.dumps(inputs, indent=2) + "\n")


def main(arguments: list[str] | None = None) -> int:
    """Entry point; 2 when a value or an input is refused."""
    parser = argparse.ArgumentParser(prog="python -m training.core.new_run")
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("--kind", required=True)
    parser.add_argument("--preset", default="small")
    parser.add_argument("--config", type=Path, help="JSON file instead of a preset")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--input", action="append", default=[], metavar="ROLE=PATH")
    options = parser.parse_args(arguments)
    try:
        if options.config:
            config = from_dict(_read_json(options.config))
        else:
            available = presets(options.kind)
            if options.preset not in available:
                raise ConfigError(f"preset {options.preset!r} is not one of {sorted(available)}")
            config = available[options.preset]
        config = with_overrides(config, _pairs(options.set, option="--set"))
        named = _pairs(options.input, option="--input")
        inputs = {role: reference(Path(path)) for role, path in named.items()}
        write_run(options.run_dir, config=to_dict(config), inputs=inputs)
    except (ConfigError, ArtefactError, OSError, ValueError) as refused:
        sys.stderr.write(f"{refused}\n")
        return 2
    return 0


def _pairs(given: Sequence[str], *, option: str) -> dict[str, str]:
    for each in given:
        if "=" not in each:
            raise ConfigError(f"{option} {each} has no value: write {option} {each}=…")
    return dict(each.split("=", 1) for each in given)


def _read_json(path: Path) -> dict[str, object]:
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as broken:
        raise ConfigError(f"{path} is not valid JSON ({broken}): mend it") from None
    if not isinstance(stored, dict):
        raise ConfigError(f"{path} holds no object of named values: mend it")
    return stored


if __name__ == "__main__":
    sys.exit(main())
