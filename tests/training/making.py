"""Small real things for tests of runs: a starter without torch, a frozen release, ended runs.

Each function makes one noun with what it needs and nothing more.
"""

import json
import struct
from pathlib import Path
from typing import Any

from django.test import Client

from comparisons.models import DatasetRelease
from comparisons.services.releasing import cut_release
from modelserving import promotion
from modelserving.core.artifacts import utc_now, write_manifest
from modelserving.models import Checkpoint, Slot
from tests.comparisons.making import (
    make_account,
    make_checkpoint,
    make_comparison,
    make_conversation,
    make_deployment,
)
from training import leases
from training.models import TrainingRun


def write_starter(directory: Path) -> Path:
    """A checkpoint directory that registers: its weights are six zeros."""
    directory.mkdir(parents=True)
    header = json.dumps({"w": {"dtype": "F32", "shape": [6], "data_offsets": [0, 24]}}).encode()
    (directory / "model.safetensors").write_bytes(
        struct.pack("<Q", len(header)) + header + bytes(24)
    )
    (directory / "config.json").write_text(json.dumps({"architectures": ["LlamaForCausalLM"]}))
    (directory / "tokenizer.json").write_text("{}")
    (directory / "tokenizer_config.json").write_text("{}")
    (directory / "dialogue.json").write_text("{}")
    write_manifest(
        directory, kind="language_model", parents=[], config={}, code="", created=utc_now()
    )
    return directory


def make_slot(settings: Any, directory: Path) -> Slot:
    """The slot `main` with a steady deployment, and a starter for runs to begin from."""
    settings.STARTER_CHECKPOINT = write_starter(directory / "starter")
    return promotion.ensure_slot("main", deployment=make_deployment("steady"))


def make_comparisons(count: int, *, words: str = "about") -> None:
    """Comparisons of as many conversations, long enough apart to fall into both splits."""
    for index in range(count):
        first = f"Tell me {words} number {index}"
        conversation = make_conversation(first=first)
        make_comparison(
            conversation, message=first, picked=f"Gladly, {index}.", other=f"No, {index}."
        )


def make_release(name: str = "r1", *, count: int = 40) -> DatasetRelease:
    """A frozen release with both splits."""
    make_comparisons(count, words=name)
    return cut_release(name, test_percent=30)


def end_run(run: TrainingRun, *, kind: str, state: str = "done", **results) -> Checkpoint | None:
    """Claim a run as a worker does and end it, with a checkpoint when it is done."""
    claimed = leases.claim(run.pk, owner="tests")
    assert claimed is not None
    checkpoint = make_checkpoint(kind=kind, run=run.public_id) if state == "done" else None
    assert leases.end(claimed, state=state, reason="", checkpoint=checkpoint, results=results)
    return checkpoint


def signed_in(role: str = "researcher") -> Client:
    """A browser of somebody with this role."""
    client = Client()
    client.force_login(make_account(role))
    return client


def text_of(response) -> str:
    """The page with runs of white space made one."""
    return " ".join(response.content.decode().split())
