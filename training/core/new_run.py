"""Make a run directory by hand: `python -m training.core.new_run RUN_DIR --kind … --input …`.

It does not run anything and knows no database; the console makes the same two files.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from modelserving.core.artifacts import ArtefactError, write_durably
from training.config import (
    ConfigError,
    RunConfig,
    from_dict,
    kind_of,
    presets,
    to_dict,
    with_overrides,
)
from training.config.describing import in_plain, settings_of
from training.core.roles import ROLES, require_roles, roles_in_words
from training.core.run_directory import reference
from training.core.settings_files import read_object


def write_run(path: Path, *, config: dict[str, object], inputs: dict[str, dict[str, str]]) -> None:
    """Write config.json and inputs.json of a new run directory."""
    path.mkdir(parents=True)
    write_durably(path / "config.json", json.dumps(config, indent=2) + "\n")
    write_durably(path / "inputs.json", json.dumps(inputs, indent=2) + "\n")


def main(arguments: list[str] | None = None) -> int:
    """Entry point; 2 when a value or an input is refused."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        config = _config(options)
        if options.show:
            sys.stdout.write("\n".join(_described(config)) + "\n")
            return 0
        if options.run_dir is None:
            raise ConfigError("RUN_DIR is missing: name the directory to make")
        named = {role: Path(path) for role, path in _pairs(options.input, option="--input").items()}
        require_roles(kind_of(config), named)
        inputs = {role: reference(path) for role, path in named.items()}
        write_run(options.run_dir, config=to_dict(config), inputs=inputs)
    except FileExistsError:
        sys.stderr.write(f"{options.run_dir} is there already: name another directory\n")
        return 2
    except (ConfigError, ArtefactError, OSError, ValueError) as refused:
        sys.stderr.write(f"{refused}\n")
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    kinds = "\n".join(
        f"  {kind}\n" + "\n".join(f"    {line}" for line in roles_in_words(kind)) for kind in ROLES
    )
    parser = argparse.ArgumentParser(
        prog="python -m training.core.new_run",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f"kinds and their inputs:\n{kinds}\n\nAfterwards: python -m training.core RUN_DIR",
    )
    parser.add_argument("run_dir", type=Path, nargs="?", metavar="RUN_DIR", help="made anew")
    parser.add_argument("--kind", help="one of those below")
    parser.add_argument("--preset", default="small", help="demo, small or paper")
    parser.add_argument("--config", type=Path, help="JSON file instead of kind and preset")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE",
        help="change a setting, as lora.rank=8 (repeatable)",
    )  # fmt: skip
    parser.add_argument(
        "--input", action="append", default=[], metavar="ROLE=PATH",
        help="what the run is made from (repeatable)",
    )  # fmt: skip
    parser.add_argument(
        "--show", action="store_true", help="print every setting and its value; nothing is made"
    )
    return parser


def _config(options: argparse.Namespace) -> RunConfig:
    if options.config:
        config = from_dict(
            read_object(options.config, refusal=ConfigError, absent="mend --config", cure="mend it")
        )
        if options.kind not in {None, kind_of(config)}:
            raise ConfigError(
                f"{options.config} is of a {kind_of(config)}: leave out --kind {options.kind}"
            )
    else:
        if options.kind is None:
            raise ConfigError(f"--kind is missing: choose one of {', '.join(ROLES)}")
        available = presets(options.kind)
        if options.preset not in available:
            raise ConfigError(f"preset {options.preset!r} is not one of {sorted(available)}")
        config = available[options.preset]
    return with_overrides(config, _pairs(options.set, option="--set"))


def _described(config: RunConfig) -> list[str]:
    """A line for each setting, as `--set` takes it, with its remark."""
    stored = [(each, json.dumps(in_plain(each.default))) for each in settings_of(config)]
    width = max(len(each.name) + len(value) for each, value in stored) + 2
    return [
        f"{f'{each.name}={value}':<{width}}{'# ' + each.remark if each.remark else ''}".rstrip()
        for each, value in stored
    ]


def _pairs(given: Sequence[str], *, option: str) -> dict[str, str]:
    for each in given:
        if "=" not in each:
            raise ConfigError(f"{option} {each} has no value: write {option} {each}=…")
    return dict(each.split("=", 1) for each in given)


if __name__ == "__main__":
    sys.exit(main())
