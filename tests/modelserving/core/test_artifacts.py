"""Artefacts: they exist when their manifest verifies, and every kind of damage is named."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from modelserving.core.artifacts import (
    ArtefactError,
    content_hash,
    publish,
    read_manifest,
    verify,
    write_durably,
    write_manifest,
)


def write_artefact(directory: Path, *, text: str = "weights", created: str = "then") -> Path:
    (directory / "deep").mkdir(parents=True)
    (directory / "model.safetensors").write_text(text)
    (directory / "deep" / "config.json").write_text("{}")
    write_manifest(
        directory, kind="policy", parents=["p"], config={"a": 1}, code="c", created=created
    )
    return directory


def test_a_written_artefact_verifies_with_all_its_files(tmp_path: Path) -> None:
    manifest = verify(write_artefact(tmp_path / "x"))

    assert set(manifest.files) == {"model.safetensors", "deep/config.json"}
    assert manifest.files["model.safetensors"]["size"] == 7
    assert (manifest.kind, manifest.parents, manifest.config) == ("policy", ["p"], {"a": 1})


def test_identity_is_the_content_not_the_name_or_date(tmp_path: Path) -> None:
    one = write_artefact(tmp_path / "one", created="then")
    same = write_artefact(tmp_path / "same", created="later")
    other = write_artefact(tmp_path / "other", text="WEIGHTS")

    hashes = [content_hash(read_manifest(path)) for path in (one, same, other)]

    assert hashes[0] == hashes[1]
    assert hashes[0] != hashes[2]


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[3] ^= 1
    path.write_bytes(content)


def misspell(path: Path, key: str) -> None:
    """Damage a key, or make a text of the table that it names."""
    wrong = '"files": "x", "config": {' if key.endswith("{") else key.replace("s", "d")
    path.write_text(path.read_text().replace(key, wrong))


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda d: (d / "model.safetensors").write_text("weigh"), "cut off"),
        (lambda d: flip_a_bit(d / "model.safetensors"), "changed or damaged"),
        (lambda d: (d / "deep" / "config.json").unlink(), "missing"),
        (lambda d: (d / "manifest.json").unlink(), "never published"),
        (lambda d: (d / "manifest.json").write_text('{"kind": '), "cannot be read"),
        (lambda d: (d / "manifest.json").write_text("[]"), "cannot be read"),
        (lambda d: misspell(d / "manifest.json", '"size"'), "sha256 and size of deep/config.json"),
        (lambda d: misspell(d / "manifest.json", '"sha256"'), "sha256 and size of"),
        (lambda d: misspell(d / "manifest.json", '"files": {'), "sha256 and size of files"),
    ],
)
def test_damage_is_named(tmp_path: Path, damage: Callable[[Path], None], reason: str) -> None:
    directory = write_artefact(tmp_path / "x")

    damage(directory)

    with pytest.raises(ArtefactError, match=reason):
        verify(directory)


def test_a_later_format_is_refused(tmp_path: Path) -> None:
    directory = write_artefact(tmp_path / "x")
    stored = json.loads((directory / "manifest.json").read_text()) | {"format_version": 2}
    (directory / "manifest.json").write_text(json.dumps(stored))

    with pytest.raises(ArtefactError, match="format version 2"):
        verify(directory)


def test_publishing_needs_a_manifest_and_never_replaces(tmp_path: Path) -> None:
    directory = write_artefact(tmp_path / "x.partial")
    (tmp_path / "empty").mkdir()

    publish(directory, tmp_path / "x")

    assert verify(tmp_path / "x").kind == "policy"
    assert not directory.exists()
    with pytest.raises(ArtefactError, match="write the manifest"):
        publish(tmp_path / "empty", tmp_path / "y")
    with pytest.raises(ArtefactError, match="never replaced"):
        publish(write_artefact(tmp_path / "again"), tmp_path / "x")


def test_an_unknown_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match="kind 'poem'"):
        write_manifest(tmp_path, kind="poem", parents=[], config={}, code="", created="")


def test_durable_writing_replaces_whole_files(tmp_path: Path) -> None:
    path = tmp_path / "status.json"

    write_durably(path, "one")
    write_durably(path, "two")

    assert path.read_text() == "two"
    assert [each.name for each in tmp_path.glob("status*")] == ["status.json"]
