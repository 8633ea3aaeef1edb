"""Directories become checkpoints by content: verified, kept once, never half."""

import json
import os
import shutil
import struct
from pathlib import Path

import pytest

from modelserving.core.artifacts import utc_now, write_manifest
from modelserving.core.weights import WeightsRefused, count_parameters, tensors_of
from modelserving.importing import import_checkpoint
from modelserving.models import Checkpoint
from modelserving.registry import (
    CheckpointNotRegistered,
    directory_of,
    ensure_starter,
    register_checkpoint,
)

pytestmark = pytest.mark.django_db


def safetensors(**tensors: int) -> bytes:
    header, place = {}, 0
    for name, size in tensors.items():
        header[name] = {"dtype": "F32", "shape": [size], "data_offsets": [place, place + 4 * size]}
        place += 4 * size
    raw = json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + bytes(place)


def write_model(directory: Path, *, architecture="LlamaForCausalLM", size=6, **config) -> Path:
    directory.mkdir(parents=True)
    (directory / "model.safetensors").write_bytes(safetensors(weight=size, other=2))
    about = {"architectures": [architecture], "max_position_embeddings": 128, **config}
    (directory / "config.json").write_text(json.dumps(about))
    (directory / "tokenizer.json").write_text("{}")
    (directory / "tokenizer_config.json").write_text(json.dumps({"eos_token": "</s>"}))
    return directory


def publish(directory: Path, *, kind="policy", parents=(), **more) -> Path:
    write_model(directory, **more)
    (directory / "dialogue.json").write_text("{}")
    (directory / "resume").mkdir()
    (directory / "resume" / "optimizer.safetensors").write_bytes(b"large")
    write_manifest(
        directory, kind=kind, parents=list(parents), config={}, code="", created=utc_now()
    )
    return directory


def register(directory, **more):
    return register_checkpoint(directory, name="a policy", origin="trained", **more)


def test_register_keeps_the_weights_under_their_hash_without_resume_state(tmp_path, artefacts):
    checkpoint = register(publish(tmp_path / "step-3"), step=3, results={"accuracy": 0.7})

    kept = directory_of(checkpoint)
    assert kept == artefacts / "checkpoints" / checkpoint.hash
    assert {path.name for path in kept.iterdir()} == {
        "model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json",
        "dialogue.json", "manifest.json",
    }  # fmt: skip
    assert (checkpoint.parameters, checkpoint.kind, checkpoint.step) == (8, "policy", 3)
    assert checkpoint.results == {"accuracy": 0.7}
    assert [path.name for path in kept.parent.iterdir()] == [checkpoint.hash]
    assert (kept / "model.safetensors").stat().st_mode & 0o777 == 0o400


def test_register_twice_gives_the_same_checkpoint(tmp_path):
    first = register(publish(tmp_path / "one"))
    second = register(publish(tmp_path / "two"))

    assert first == second
    assert Checkpoint.objects.count() == 1


def test_register_links_what_is_in_the_artefact_store_already(artefacts):
    step = publish(artefacts / "runs" / "x" / "checkpoints" / "step-1")

    kept = directory_of(register(step))

    assert os.stat(kept / "model.safetensors").st_ino == os.stat(step / "model.safetensors").st_ino
    assert (step / "resume" / "optimizer.safetensors").exists()


def test_register_knows_the_parents(tmp_path):
    parent = register(publish(tmp_path / "parent", size=3))

    child = register(publish(tmp_path / "child", parents=[parent.hash, "0" * 64]))

    assert list(child.parents.all()) == [parent]


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "manifest.json"])
def test_register_refuses_what_is_damaged_and_leaves_nothing(tmp_path, artefacts, name):
    directory = publish(tmp_path / "step-3")
    path = directory / name
    path.write_bytes(path.read_bytes()[:-2])

    with pytest.raises(CheckpointNotRegistered):
        register(directory)

    assert not Checkpoint.objects.exists()
    assert not list((artefacts / "checkpoints").glob("*"))


def test_register_refuses_a_manifest_that_points_outside(tmp_path):
    directory = publish(tmp_path / "step-3")
    manifest = json.loads((directory / "manifest.json").read_text())
    (tmp_path / "secret").write_text("x")
    manifest["files"]["../secret"] = manifest["files"]["config.json"]
    (directory / "manifest.json").write_text(json.dumps(manifest))

    with pytest.raises(CheckpointNotRegistered, match="outside"):
        register(directory)


def test_a_damaged_copy_is_set_aside_and_replaced(tmp_path):
    checkpoint = register(publish(tmp_path / "one"))
    weights = directory_of(checkpoint) / "model.safetensors"
    weights.chmod(0o600)
    weights.write_bytes(weights.read_bytes()[:-4] + b"\1\2\3\4")

    assert register(publish(tmp_path / "two")) == checkpoint

    assert weights.read_bytes() == (tmp_path / "two" / "model.safetensors").read_bytes()
    assert [p.name for p in weights.parent.parent.iterdir() if "damaged" in p.name]


def test_ensure_starter_registers_once(tmp_path, settings):
    settings.STARTER_CHECKPOINT = publish(tmp_path / "starter", kind="language_model")

    assert ensure_starter() == ensure_starter()
    assert Checkpoint.objects.get().origin == "starter"


def test_import_of_a_directory_writes_what_is_missing(tmp_path):
    source = write_model(tmp_path / "their-model")
    (source / "pytorch_model.bin").write_bytes(b"\x80\x04evil")
    (source / "modeling_evil.py").write_text("raise SystemExit")

    checkpoint = import_checkpoint(source)

    kept = directory_of(checkpoint)
    dialogue = json.loads((kept / "dialogue.json").read_text())
    assert (dialogue["format"], dialogue["end_of_turn"]) == ("hh_text", "</s>")
    assert (checkpoint.name, checkpoint.origin, checkpoint.kind) == (
        "their-model", "imported", "language_model",
    )  # fmt: skip
    assert not list(kept.glob("*.bin")) + list(kept.glob("*.py"))


def test_import_copies_a_chat_template_as_text(tmp_path):
    source = write_model(tmp_path / "chatty")
    template = {"eos_token": "</s>", "chat_template": "{{ messages }}"}
    (source / "tokenizer_config.json").write_text(json.dumps(template))

    kept = directory_of(import_checkpoint(source))

    assert json.loads((kept / "dialogue.json").read_text())["format"] == "chat_template"


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"auto_map": {"AutoModel": "evil.Model"}}, "auto_map"),
        ({"text_config": {"_attn_implementation_internal": "evil/kernel"}}, "_attn_implementation"),
        ({"architectures": ["EvilForCausalLM"]}, "architecture"),
        ({"architectures": []}, "architecture"),
    ],
)
def test_import_refuses_what_could_run_code(tmp_path, artefacts, config, said):
    source = write_model(tmp_path / "evil", **config)

    with pytest.raises(CheckpointNotRegistered, match=said):
        import_checkpoint(source)

    assert not list((artefacts / "checkpoints").iterdir())


def test_import_of_a_scoring_model_needs_one_label(tmp_path):
    one = write_model(tmp_path / "one", architecture="LlamaForSequenceClassification", num_labels=1)
    two = write_model(tmp_path / "two", architecture="LlamaForSequenceClassification", num_labels=2)

    assert import_checkpoint(one).kind == "preference_model"
    with pytest.raises(CheckpointNotRegistered, match="2 labels"):
        import_checkpoint(two)


@pytest.mark.parametrize("source", ["/nowhere/at/all", "no-owner", "a/b/c", "../etc", "a/../b"])
def test_import_of_neither_directory_nor_hub_name_says_so(source):
    with pytest.raises(CheckpointNotRegistered, match="neither"):
        import_checkpoint(source)


def test_import_without_a_network_names_the_cure(settings):
    with pytest.raises(CheckpointNotRegistered, match="network"):
        import_checkpoint("owner/model")


def test_weights_are_counted_from_headers(tmp_path):
    write_model(tmp_path / "model", size=10)

    assert count_parameters(tmp_path / "model") == 12
    for again in ("consolidated.safetensors", "original.safetensors"):
        shutil.copy(tmp_path / "model" / "model.safetensors", tmp_path / "model" / again)
    assert count_parameters(tmp_path / "model") == 12


@pytest.mark.parametrize(
    "spoil",
    [
        lambda raw: raw[:4],
        lambda raw: raw + b"PK\x03\x04",
        lambda raw: struct.pack("<Q", 1 << 60) + raw[8:],
        lambda raw: raw[:-1],
        lambda raw: raw.replace(b'"shape": [6]', b'"shape": [7]'),
        lambda raw: raw.replace(b"F32", b"F99"),
        lambda _: struct.pack("<Q", 2) + b"[]",
    ],
)
def test_weights_that_are_not_exactly_safetensors_are_refused(tmp_path, spoil):
    path = tmp_path / "model.safetensors"
    path.write_bytes(spoil(safetensors(weight=6)))

    with pytest.raises(WeightsRefused):
        tensors_of(path)
