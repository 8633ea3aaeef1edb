"""Run directories made by hand: the two files, and one line for what is refused."""

import json
from pathlib import Path

import pytest

from training.core.new_run import main


def test_a_run_directory_holds_the_preset_with_what_was_set(tmp_path: Path):
    path = tmp_path / "run"

    code = main([str(path), "--kind", "ppo", "--set", "steps=7"])

    assert code == 0
    assert json.loads((path / "config.json").read_text())["steps"] == 7
    assert json.loads((path / "inputs.json").read_text()) == {}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--set", "steps"], "--set steps has no value: write --set steps=…"),
        (["--input", "release"], "--input release has no value: write --input release=…"),
        (["--config", "broken.json"], "broken.json is not valid JSON"),
        (["--config", "five.json"], "five.json holds no object of named values"),
    ],
)
def test_what_cannot_be_read_is_named(
    tmp_path: Path, capsys, monkeypatch, arguments: list[str], says: str
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "five.json").write_text("5")

    code = main(["run", "--kind", "ppo", *arguments])

    assert code == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
