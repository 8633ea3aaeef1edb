"""Small context-distillation runs for tests: their configuration and inputs, and one that is stopped in the middle."""

from pathlib import Path

import pytest

from tests.tiny_checkpoints import make_tiny_language_model
from tests.training.core.tiny import make_corpus
from training.core.distillation import _Trainer


def config(**overrides: object) -> dict[str, object]:
    return {
        "kind": "context_distillation",
        "device": "cpu",
        "threads": 1,
        "top_tokens": 50,
        "sequences": 24,
        "held_out_sequences": 4,
        "sequence_tokens": 16,
        "prompt_tokens": 1000,
        "batch_size": 8,
        "epochs": 4,
        "learning_rate": 0.01,
        "checkpoint_every": 2,
        **overrides,
    }


def make_start(directory: Path) -> dict[str, Path]:
    """Initial checkpoint and corpus under a directory."""
    make_tiny_language_model(directory / "initial", max_position_embeddings=2048)
    return {"initial": directory / "initial", "corpus": make_corpus(directory / "corpus")}


def stop_after(steps: int, *, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the run asked to stop once it has trained so many steps."""
    train_step = _Trainer._train_step

    def train_step_and_ask_to_stop(trainer: _Trainer) -> None:
        train_step(trainer)
        if trainer.step == steps:
            (path / "stop.json").write_text("{}")

    monkeypatch.setattr(_Trainer, "_train_step", train_step_and_ask_to_stop)
