"""Loading: what is there already, damaged adapters, directories that never end, and a server that ends meanwhile."""

import asyncio
import json
import os
import shutil
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from modelserving.core import artifacts
from modelserving.core.artifacts import ArtefactError, Manifest, content_hash, read_manifest
from modelserving.server import loads
from tests.modelserving.adapters import write_adapter
from tests.modelserving.server.in_process import Here, engine_of, serving_here
from tests.tiny_checkpoints import make_tiny_language_model


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Here]:
    with serving_here(tmp_path) as running:
        yield running


def _load(served: Here, directory: Path) -> httpx.Response:
    return served.post("/v1/checkpoints/load", {"path": str(directory)})


def _outcome(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json().get("error", {}).get("code", "")


def test_what_is_loaded_is_not_read_again_without_a_name_either(served: Here) -> None:
    identity = make_tiny_language_model(served.root / "mine", seed=7)
    shutil.copytree(served.root / "mine", served.root / "copy")
    first = _load(served, served.root / "mine").json()
    before = dict(served.engine.checkpoints)
    served.engine.memory.limit = served.engine.bytes_used  # a second one would drive others out

    again = [_load(served, served.root / name) for name in ("mine", "copy")]

    assert first["name"] == identity
    assert [(each.status_code, each.json()) for each in again] == [(200, first)] * 2
    assert served.engine.checkpoints == before


def test_a_damaged_copy_of_what_is_loaded_is_refused(served: Here) -> None:
    make_tiny_language_model(served.root / "mine", seed=7)
    shutil.copytree(served.root / "mine", served.root / "copy")
    _load(served, served.root / "mine")
    with (served.root / "copy" / "model.safetensors").open("ab") as weights:
        weights.write(b"x")

    assert _outcome(_load(served, served.root / "copy")) == (422, "checkpoint_refused")


def _parents_that_are_no_list(directory: Path) -> None:
    path = directory / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "parents": 5}))


def _a_config_without_end(directory: Path) -> None:
    (directory / "adapter_config.json").write_text('{"a":' * 50_000 + "1" + "}" * 50_000)


@pytest.mark.parametrize("damage", [_parents_that_are_no_list, _a_config_without_end])
def test_a_damaged_adapter_is_refused_by_reason(served: Here, damage: Any) -> None:
    parent = content_hash(read_manifest(served.root / "policy"))
    directory = served.root / "adapter"
    write_adapter(directory, base=served.root / "policy", parent=parent, seed=1, rank=2)
    damage(directory)

    assert _outcome(_load(served, directory)) == (422, "checkpoint_refused")


def test_parents_are_texts_in_a_list(tmp_path: Path) -> None:
    make_tiny_language_model(tmp_path / "policy")
    _parents_that_are_no_list(tmp_path / "policy")

    with pytest.raises(ArtefactError, match="parents"):
        read_manifest(tmp_path / "policy")


def test_a_manifest_that_is_no_file_is_not_opened(served: Here) -> None:
    make_tiny_language_model(served.root / "endless")
    (served.root / "endless" / "manifest.json").unlink()
    os.mkfifo(served.root / "endless" / "manifest.json")

    assert _outcome(_load(served, served.root / "endless")) == (422, "checkpoint_refused")


def test_a_read_that_does_not_end_keeps_other_loads_waiting_for_a_while_only(
    served: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loads, "READ_SECONDS", 1.0)
    for name in ("endless", "another"):
        make_tiny_language_model(served.root / name, seed=9)
    may_end = threading.Event()

    def verify(directory: Path) -> Manifest:
        if directory.name == "endless":
            may_end.wait(20)
        return artifacts.verify(directory)

    monkeypatch.setattr("modelserving.server.checkpoints.verify", verify)

    with ThreadPoolExecutor(2) as pool:
        answers = pool.map(lambda name: _load(served, served.root / name), ("endless", "another"))

        found = [_outcome(each) for each in answers]
    may_end.set()

    assert found == [(503, "load_too_slow"), (200, "")]


def test_what_is_asked_of_an_engine_that_ends_is_refused(tmp_path: Path) -> None:
    engine, loop, may_end = engine_of(), asyncio.new_event_loop(), threading.Event()
    engine.start(loop)
    engine.call(lambda: may_end.wait(10))
    stopping = threading.Thread(target=engine.stop)
    stopping.start()
    time.sleep(0.2)
    waiting = engine.call(lambda: "never")
    may_end.set()
    stopping.join()
    loop.close()

    for answer in (waiting, engine.call(lambda: "never")):
        assert getattr(answer.exception(timeout=5), "code", "") == "shutting_down"
