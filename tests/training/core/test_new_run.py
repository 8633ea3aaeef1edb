"""Run directories made by hand: the two files, and one line for what is refused."""

import json
from pathlib import Path

import pytest

from modelserving.core.artifacts import file_sha256, write_manifest
from training.config import KINDS
from training.core.new_run import main
from training.core.roles import ROLES

QUOTE = '"'


@pytest.fixture
def inputs(tmp_path: Path) -> dict[str, Path]:
    """A directory of each kind, without any weights, a folder, and a file."""
    found = {}
    for kind in ("language_model", "preference_model", "release", "corpus"):
        found[kind] = tmp_path / kind
        found[kind].mkdir()
        write_manifest(
            found[kind],
            kind=kind,
            parents=[],
            config={},
            code="",
            created="2026-01-01T00:00:00+00:00",
        )
    found["folder"], found["file"] = tmp_path / "folder", tmp_path / "file.jsonl"
    found["folder"].mkdir()
    found["file"].write_text("{}")
    return found


def given(**roles: Path) -> list[str]:
    return [word for role, path in roles.items() for word in ("--input", f"{role}={path}")]


def test_a_run_directory_holds_the_preset_with_what_was_set(
    tmp_path: Path, inputs: dict[str, Path]
):
    path = tmp_path / "run"
    roles = given(
        initial=inputs["language_model"],
        ranker=inputs["preference_model"],
        release=inputs["release"],
        prompts=inputs["file"],
    )

    code = main([str(path), "--kind", "ppo", "--set", "steps=7", *roles])

    assert code == 0
    assert json.loads((path / "config.json").read_text())["steps"] == 7
    stored = json.loads((path / "inputs.json").read_text())
    assert set(stored) == {"initial", "ranker", "release", "prompts"}
    assert stored["prompts"]["sha256"] == file_sha256(inputs["file"])


@pytest.mark.parametrize(
    ("kind", "roles", "says"),
    [
        ("preference_model", {}, "needs an input initial"),
        ("preference_model", {"initial": "language_model"}, "needs an input release"),
        ("preference_model", {"relese": "release"}, "did you mean release?"),
        ("ppo", {"teacher": "language_model"}, "it takes initial, ranker, release"),
        ("ppo", {"ranker": "language_model"}, "is a language_model: name a preference_model"),
        ("language_model", {"initial": "language_model"}, "release=PATH, or corpus=PATH"),
        ("language_model", {"release": "release", "corpus": "corpus"}, "leave one of them out"),
        ("best_of_k", {"prompts": "folder"}, "is a folder: name its file"),
        ("context_distillation", {"corpus": "folder"}, "docs/paper.md"),
        ("preference_model", {"release": "nothere"}, "nothere is not there"),
    ],
)
def test_inputs_that_cannot_make_a_run_are_refused_before_its_directory_is_made(
    tmp_path: Path, inputs: dict[str, Path], capsys, kind: str, roles: dict[str, str], says: str
):
    paths = {role: inputs.get(name, tmp_path / name) for role, name in roles.items()}

    code = main([str(tmp_path / "run"), "--kind", kind, *given(**paths)])

    assert code == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_every_setting_is_shown_as_it_is_set_with_its_remark(capsys):
    assert main(["--kind", "ppo", "--set", "lora.rank=4", "--show"]) == 0

    shown = capsys.readouterr().out.splitlines()
    by_name = {line.partition("=")[0]: line for line in shown}
    assert by_name["lora.rank"] == "lora.rank=4"
    assert by_name["kl_weight"].startswith("kl_weight=0.0")
    assert by_name["stop_kl"].endswith("# stops by itself beyond this KL per response")
    assert by_name["keep_checkpoints"].endswith("the newest verified one is used")
    assert (
        "falls back on the newest" in by_name["checkpoint_every"]
    )  # beside a value on lines of its own
    assert "kind" not in by_name


def shown(capsys) -> dict[str, str]:
    """Values by setting, as they were printed."""
    lines = [line.partition("  # ")[0].strip() for line in capsys.readouterr().out.splitlines()]
    return dict(line.split("=", 1) for line in lines)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_what_is_shown_of_each_kind_can_be_set(kind: str, capsys):
    assert main(["--kind", kind, "--show"]) == 0
    settings = shown(capsys)
    again: list[str] = []
    for name, value in settings.items():
        again += ["--set", f"{name}={json.loads(value) if value.startswith(QUOTE) else value}"]

    assert main(["--kind", kind, *again, "--show"]) == 0
    assert shown(capsys) == settings


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--set", "steps"], "--set steps has no value: write --set steps=…"),
        (["--input", "release"], "--input release has no value: write --input release=…"),
        (["--config", "broken.json"], "broken.json is not valid JSON"),
        (["--config", "five.json"], "five.json holds no object of named values"),
        (["--config", "none.json"], "none.json is not there"),
        (["--set", "lora.rnk=4"], "unknown key lora.rnk: did you mean lora.rank?"),
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


def test_each_kind_has_its_roles() -> None:
    assert set(ROLES) == set(KINDS)
