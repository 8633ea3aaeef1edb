"""Several policies over one base, held once: right numbers, order of leaving, refusals; a real process."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel

from modelserving.core.adapters import CONFIG, WEIGHTS
from tests.modelserving.adapters import publish, write_adapter
from tests.modelserving.server.conftest import Served, end, launch, says_hello

PROMPT = list(range(3, 90))


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server with nothing loaded; the base stands below the root by its hash, as in the registry."""
    served = launch(tmp_path_factory.mktemp("adapters"), preload=False)
    (served.root / "policy").rename(served.root / served.policy)
    yield served
    end(served)


def _adapter(running: Served, name: str, **settings: object) -> PreTrainedModel:
    base = running.root / running.policy
    return write_adapter(running.root / name, base=base, parent=running.policy, **settings)


def _loaded(running: Served) -> dict[str, dict[str, object]]:
    with running.client() as client:
        found = client.get("/v1/status").json()["checkpoints"]
    return {each["name"]: each for each in found}


def _drawn(running: Served, model: str, *, seed: int) -> tuple[list[int], list[float]]:
    content = {
        "model": model, "prompt": PROMPT, "max_tokens": 20, "seed": seed, "logprobs": 0,
        "return_token_ids": True,
    }  # fmt: skip
    answer = running.post("/v1/completions", content)
    assert answer.status_code == 200, answer.text
    (choice,) = answer.json()["choices"]
    return choice["token_ids"], choice["logprobs"]["token_logprobs"]


def _unload(running: Served, *names: str) -> None:
    for name in names:
        assert running.post("/v1/checkpoints/unload", {"name": name}).status_code == 200


@pytest.mark.parametrize("targets", [("q_proj", "v_proj"), ("k_proj", "down_proj", "gate_proj")])
def test_an_adapter_gives_the_numbers_of_its_merged_weights(
    running: Served, targets: tuple[str, ...]
) -> None:
    name = "-".join(targets)
    merged = _adapter(running, name, seed=7, targets=targets)

    loaded = running.load(running.root / name, name=name)
    ids, logprobs = _drawn(running, name, seed=3)

    assert loaded.status_code == 200, loaded.text
    with torch.no_grad():
        every = merged(torch.tensor([[*PROMPT, *ids]])).logits[0].log_softmax(dim=-1)
    told = every[len(PROMPT) - 1 : -1].gather(1, torch.tensor(ids)[:, None])[:, 0]
    assert torch.allclose(torch.tensor(logprobs), told[: len(logprobs)], atol=2e-4)
    held = _loaded(running)
    assert held[name]["base"] == running.policy
    assert held[name]["weight_bytes"] < held[running.policy]["weight_bytes"] / 4
    _unload(running, name, running.policy)


def test_adapters_of_one_base_and_the_base_answer_the_same_in_any_company(running: Served) -> None:
    for name, seed in (("first", 1), ("second", 2)):
        _adapter(running, name, seed=seed)
        assert running.load(running.root / name, name=name).status_code == 200
    asked = [(model, seed) for model in ("first", "second", running.policy) for seed in range(6)]
    alone = {each: _drawn(running, each[0], seed=each[1]) for each in asked}

    with ThreadPoolExecutor(max_workers=len(asked)) as people:
        waiting = {
            each: people.submit(_drawn, running, each[0], seed=each[1]) for each in asked * 2
        }
    together = {each: found.result() for each, found in waiting.items()}

    assert together == alone
    assert len({tuple(alone[model, 0][0]) for model, seed in asked if seed == 0}) == 3
    _unload(running, "first", "second", running.policy)


def test_a_base_leaves_after_its_adapters(running: Served) -> None:
    _adapter(running, "leaving", seed=3)
    assert running.load(running.root / "leaving", name="leaving").status_code == 200

    refused = running.post("/v1/checkpoints/unload", {"name": running.policy})
    answers = says_hello(running, "leaving")
    _unload(running, "leaving", running.policy)

    assert refused.status_code == 409
    assert refused.json()["error"]["code"] == "base_in_use"
    assert answers
    assert _loaded(running) == {}


def _changes_config(**more: object) -> Callable[[Path], None]:
    def change(directory: Path) -> None:
        path = directory / CONFIG
        path.write_text(json.dumps({**json.loads(path.read_text()), **more}))

    return change


def _changes_weights(change: Callable[[dict[str, torch.Tensor], str], None]) -> Callable:
    def changed(directory: Path) -> None:
        weights = load_file(directory / WEIGHTS)
        change(weights, min(weights))
        save_file(weights, directory / WEIGHTS)

    return changed


SPOILT = {
    "another kind": (_changes_config(use_dora=True), "use_dora"),
    "another peft type": (_changes_config(peft_type="LOHA"), "plain LoRA"),
    "no rank": (_changes_config(r=0), "r is 0"),
    "code": (_changes_config(auto_map={"a": "b"}), "auto_map"),
    "a pickle": (lambda directory: (directory / "more.bin").write_bytes(b"x"), "more.bin"),
    "not finite": (
        _changes_weights(lambda all_, name: all_[name].fill_(float("nan"))), "not finite",
    ),
    "another shape": (
        _changes_weights(lambda all_, name: all_.update({name: all_[name][:, :-1].clone()})),
        "other shapes",
    ),
    "half missing": (_changes_weights(lambda all_, name: all_.pop(name)), "does not fit"),
    "not a safetensors file": (
        lambda directory: (directory / WEIGHTS).write_bytes(b"\x08" + b"\0" * 7 + b"nonsense"),
        "cannot be read",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", SPOILT)
def test_an_adapter_that_does_not_fit_is_refused_by_reason(running: Served, fault: str) -> None:
    change, reason = SPOILT[fault]
    directory = running.root / f"spoilt {fault}"
    _adapter(running, directory.name, seed=4)
    change(directory)
    publish(directory, parent=running.policy)

    refused = running.load(directory)

    assert refused.status_code == 422, refused.text
    assert reason in refused.json()["error"]["message"]


def test_an_adapter_without_its_base_or_changed_since_is_refused(running: Served) -> None:
    _adapter(running, "orphan", seed=5)
    publish(running.root / "orphan", parent="0" * 64)
    _adapter(running, "changed", seed=5)
    with (running.root / "changed" / WEIGHTS).open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x7f")

    orphan, changed = (running.load(running.root / name) for name in ("orphan", "changed"))

    assert (orphan.status_code, orphan.json()["error"]["code"]) == (422, "no_base")
    assert "sha256" in changed.json()["error"]["message"]
