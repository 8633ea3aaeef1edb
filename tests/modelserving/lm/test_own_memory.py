"""Weights stay what they were when they were verified, whatever becomes of the files."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from modelserving.core.adapters import adapter_config
from modelserving.core.artifacts import verify
from modelserving.lm import loading
from modelserving.lm.adapters import load_adapter
from modelserving.lm.loading import CheckpointRefused, load_language_model, load_preference_model
from tests.modelserving.adapters import write_adapter
from tests.tiny_checkpoints import make_tiny_language_model, make_tiny_preference_model


def spoil(path: Path) -> None:
    """Zero a file in place, then cut it off."""
    with path.open("r+b") as stream:
        stream.write(bytes(path.stat().st_size))
    os.truncate(path, 16)


@pytest.mark.parametrize("kind", ["language_model", "preference_model"])
def test_a_loaded_model_does_not_change_with_its_file(tmp_path: Path, kind: str) -> None:
    make, load = {
        "language_model": (make_tiny_language_model, load_language_model),
        "preference_model": (make_tiny_preference_model, load_preference_model),
    }[kind]
    make(tmp_path / "lm")
    model = load(tmp_path / "lm").model
    before = {name: weight.clone() for name, weight in model.state_dict().items()}

    spoil(tmp_path / "lm" / "model.safetensors")

    assert str(tmp_path) not in Path("/proc/self/maps").read_text()
    torch.testing.assert_close(dict(model.state_dict()), before, rtol=0, atol=0)


def test_tied_weights_stay_tied(tmp_path: Path) -> None:
    make_tiny_language_model(tmp_path / "lm", tie_word_embeddings=True)

    model = load_language_model(tmp_path / "lm").model

    embedding: Tensor = model.get_input_embeddings().weight
    assert model.lm_head.weight is embedding
    assert embedding.untyped_storage().resizable()


def test_an_adapter_does_not_change_with_its_file(tmp_path: Path) -> None:
    parent = make_tiny_language_model(tmp_path / "base")
    write_adapter(tmp_path / "adapter", base=tmp_path / "base", parent=parent, seed=1, rank=1)
    base = load_language_model(tmp_path / "base").model
    config = adapter_config(tmp_path / "adapter", manifest=verify(tmp_path / "adapter"))

    adapter = load_adapter(tmp_path / "adapter", config=config, base=base)

    assert adapter.bytes_used
    assert str(tmp_path) not in Path("/proc/self/maps").read_text()


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
def test_files_put_in_others_place_while_they_are_read_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    make_tiny_language_model(tmp_path / "lm")
    make_tiny_language_model(tmp_path / "other", seed=5)
    text = (tmp_path / "lm" / "tokenizer.json").read_text()
    (tmp_path / "other" / "tokenizer.json").write_text(text + "\n")

    class Swapped:
        """Reads weights a moment after another file came in the place of one."""

        @staticmethod
        def from_pretrained(directory: Path, **how: Any) -> Any:
            (tmp_path / "other" / name).rename(directory / name)
            return AutoModelForCausalLM.from_pretrained(directory, **how)

    monkeypatch.setattr(loading, "AutoModelForCausalLM", Swapped)

    with pytest.raises(CheckpointRefused, match=name):
        load_language_model(tmp_path / "lm")


def test_a_whole_directory_put_in_anothers_place_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_tiny_language_model(tmp_path / "lm")
    make_tiny_language_model(tmp_path / "other", seed=5)

    class Swapped:
        """Reads weights a moment after the directory was replaced."""

        @staticmethod
        def from_pretrained(directory: Path, **how: Any) -> Any:
            directory.rename(tmp_path / "old")
            (tmp_path / "other").rename(directory)
            return AutoModelForCausalLM.from_pretrained(directory, **how)

    monkeypatch.setattr(loading, "AutoModelForCausalLM", Swapped)

    with pytest.raises(CheckpointRefused, match="changed while it was read"):
        load_language_model(tmp_path / "lm")
