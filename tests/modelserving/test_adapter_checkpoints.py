"""Adapters as checkpoints: registered on a base that stays, imported from outside, examined."""

import json
from pathlib import Path

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db.models import ProtectedError

from labelapp.doctor.artefacts import checkpoints_are_whole
from modelserving.core.adapters import CONFIG
from modelserving.core.artifacts import utc_now, write_manifest
from modelserving.models import Checkpoint
from modelserving.registry import CheckpointNotRegistered, directory_of, register_checkpoint
from tests.modelserving.test_registry import publish, safetensors

pytestmark = pytest.mark.django_db
PARTS = {f"base_model.model.q.lora_{part}.weight": 4 for part in "AB"}


@pytest.fixture
def base(tmp_path: Path) -> Checkpoint:
    return register(publish(tmp_path / "base", kind="language_model"))


def register(directory: Path) -> Checkpoint:
    return register_checkpoint(directory, name=directory.name, origin="trained")


def write(directory: Path, *, base: str = "", parents: tuple[str, ...] = (), **more) -> Path:
    """An adapter as a run or peft writes it; with `parents` it has a manifest."""
    directory.mkdir(parents=True)
    (directory / "adapter_model.safetensors").write_bytes(safetensors(**PARTS))
    about = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "base_model_name_or_path": base, **more}
    (directory / CONFIG).write_text(json.dumps(about))
    if parents:
        write_manifest(
            directory, kind="policy", parents=parents, config={}, code="", created=utc_now()
        )
    return directory


def ours(directory: Path, base: Checkpoint) -> Path:
    return write(directory, base=base.hash, parents=(base.hash, "a release", "a ranker"))


def test_an_adapter_is_registered_on_its_base(tmp_path: Path, base: Checkpoint):
    adapter = register(ours(tmp_path / "adapter", base))

    assert (adapter.base, adapter.kind, adapter.parameters) == (base, "policy", 8)
    assert list(base.adapters.all()) == [adapter]
    assert {path.name for path in directory_of(adapter).iterdir()} == {
        CONFIG, "adapter_model.safetensors", "manifest.json",
    }  # fmt: skip
    assert base.base is None


def test_the_same_adapter_of_another_base_is_another_checkpoint(tmp_path: Path, base: Checkpoint):
    other = register(publish(tmp_path / "other", kind="language_model", size=9))

    first, second = (register(ours(tmp_path / each.hash[:6], each)) for each in (base, other))

    assert first.hash != second.hash
    assert (first.base, second.base) == (base, other)


@pytest.mark.parametrize("case", ["missing", "unnamed", "not a parent", "adapter", "ranker"])
def test_an_adapter_without_a_base_that_can_carry_it_is_refused(
    tmp_path: Path, base: Checkpoint, case: str
):
    absent = "0" * 64
    ranker = register(publish(tmp_path / "ranker", kind="preference_model", size=7))
    stacked = register(ours(tmp_path / "first", base))
    directory, reason = {
        "missing": (write(tmp_path / "a", base=absent, parents=(absent,)), "not registered"),
        "unnamed": (write(tmp_path / "b", parents=(base.hash, absent)), "names no base"),
        "not a parent": (write(tmp_path / "c", base=absent, parents=(base.hash,)), "none of"),
        "adapter": (ours(tmp_path / "d", stacked), "whole weights"),
        "ranker": (ours(tmp_path / "e", ranker), "not a language model"),
    }[case]
    before = set(Checkpoint.objects.all())

    with pytest.raises(CheckpointNotRegistered, match=reason):
        register(directory)

    assert set(Checkpoint.objects.all()) == before
    assert {each.name for each in directory_of(base).parent.iterdir()} == {
        each.hash for each in before
    }


def test_a_base_cannot_be_deleted_while_an_adapter_needs_it(tmp_path: Path, base: Checkpoint):
    adapter = register(ours(tmp_path / "adapter", base))

    with pytest.raises(ProtectedError):
        base.delete()
    adapter.delete()
    base.delete()

    assert not Checkpoint.objects.exists()


def test_an_adapter_from_outside_is_imported_on_the_base_that_is_named(
    tmp_path: Path, base: Checkpoint, capsys: pytest.CaptureFixture[str]
):
    outside = write(tmp_path / "outside", base="some/model")
    (outside / "README.md").write_text("a card")

    with pytest.raises(CommandError, match="--base"):
        call_command("import_checkpoint", str(outside))
    with pytest.raises(CommandError, match="whole weights"):
        call_command("import_checkpoint", str(directory_of(base)), base=base.hash[:10])
    call_command("import_checkpoint", str(outside), base=base.hash[:10])

    adapter = Checkpoint.objects.get(base=base)
    stored = json.loads((directory_of(adapter) / CONFIG).read_text())
    assert stored["base_model_name_or_path"] == base.hash
    assert (adapter.origin, adapter.kind) == ("imported", "policy")
    assert "outside: policy" in capsys.readouterr().out


def test_an_adapter_of_ours_is_imported_again_where_its_base_is(tmp_path: Path, base: Checkpoint):
    adapter = register(ours(tmp_path / "adapter", base))
    kept, identity = directory_of(adapter), adapter.hash
    adapter.delete()

    call_command("import_checkpoint", str(kept))

    assert Checkpoint.objects.get(base=base).hash == identity


def test_the_doctor_names_an_adapter_whose_row_and_files_disagree(tmp_path: Path, base: Checkpoint):
    adapter = register(ours(tmp_path / "adapter", base))
    assert list(checkpoints_are_whole()) == []

    Checkpoint.objects.filter(pk=adapter.pk).update(base=None)

    (finding,) = checkpoints_are_whole()
    assert adapter.hash[:8] in finding.what
    assert base.hash[:8] in finding.what
