"""Adapter checkpoints through the Django side and a real server: base held once, trial to roll-back, death."""

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from modelserving import promotion
from modelserving.client import endpoints
from modelserving.client.errors import Refused
from modelserving.client.statuses import server_statuses, unload
from modelserving.core.completion import Completion
from modelserving.core.evidence import Evidence
from modelserving.deployments import create_deployment
from modelserving.generation import answers, stream
from modelserving.lm.loading import load_language_model
from modelserving.models import Checkpoint, Deployment
from modelserving.registry import directory_of, register_checkpoint
from modelserving.warming import warm_servers
from tests.modelserving.adapters import write_adapter
from tests.modelserving.server.conftest import SECRET, Served, end, launch

pytestmark = [pytest.mark.django_db, pytest.mark.one_database]
MESSAGES = [{"role": "user", "content": "Tell me a story about a dog."}]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server with nothing loaded over an empty artefact store."""
    served = launch(tmp_path_factory.mktemp("artefacts"), preload=False)
    yield served
    end(served)


@pytest.fixture
def lineage(settings, running: Served) -> Iterator[tuple[Checkpoint, list[Deployment]]]:
    """A registered base and deployments of two adapters of it; the server holds nothing."""
    settings.ARTEFACTS, settings.MODELSERVER_URLS = running.root, [running.url]
    settings.MODELSERVER_SECRET = SECRET
    base = register_checkpoint(running.root / "policy", name="base", origin="starter")
    deployments = [_deployed(running, base, seed=seed) for seed in (1, 2)]
    yield base, deployments
    for name in sorted(loaded(), key=lambda name: loaded()[name]["base"] is None):
        unload(running.url, name=name)
    for endpoint in endpoints._known.values():
        endpoint.http.close()
    endpoints._known.clear()


def _deployed(running: Served, base: Checkpoint, *, seed: int) -> Deployment:
    folder = running.root / "runs" / f"adapter-{seed}"
    if not folder.exists():
        write_adapter(folder, base=directory_of(base), parent=base.hash, seed=seed)
    adapter = register_checkpoint(folder, name=folder.name, origin="trained")
    return create_deployment(name=folder.name, checkpoint=adapter, max_new_tokens=24)


def reply(deployment: Deployment, *, seed: int = 5) -> tuple[int, ...]:
    *_, last = stream(deployment, MESSAGES, seed=seed, user="u")
    assert isinstance(last, Completion)
    return last.token_ids


def loaded() -> dict[str, dict]:
    return {each["name"]: each for each in server_statuses()[0].checkpoints}


def test_two_deployments_share_one_base_and_nobody_loads_it_by_hand(lineage):
    base, deployments = lineage

    told = [reply(each) for each in deployments]

    held = loaded()
    first, second = (each.checkpoint.hash for each in deployments)
    assert set(held) == {base.hash, first, second}
    assert [held[name]["base"] for name in (base.hash, first, second)] == [None, *[base.hash] * 2]
    assert all(
        held[n]["weight_bytes"] * 2 < held[base.hash]["weight_bytes"] for n in (first, second)
    )
    assert told[0] != told[1]


def test_warming_trial_promotion_and_roll_back_work_with_adapters(lineage):
    base, (first, second) = lineage
    slot = promotion.ensure_slot("main", deployment=first)
    gate = answers(second)
    promotion.put_on_trial(slot, second, traffic=30, expected_generation=1)
    unload_all()

    warmed = warm_servers()
    drawn = set(loaded())
    evidence = Evidence(conditions=(gate,))
    promotion.promote(slot, second, evidence=evidence, expected_generation=2)
    promotion.roll_back(slot, expected_generation=3)

    assert gate.standing == "met"
    assert len(warmed) == 2
    assert drawn == {base.hash, first.checkpoint.hash, second.checkpoint.hash}
    assert warm_servers() == []
    described = promotion.described_places(slot)
    assert [line.split() for line in described] == [
        ["70", "%", "serving", "adapter-1"], ["30", "%", "trial", "adapter-2"],
    ]  # fmt: skip


def unload_all() -> None:
    held = loaded()
    for name in sorted(held, key=lambda name: held[name]["base"] is None):
        unload(server_statuses()[0].url, name=name)


def test_a_base_stays_loaded_while_its_adapters_are(lineage, running: Served):
    base, (first, _) = lineage
    before = reply(first)

    with pytest.raises(Refused, match="is the base of"):
        unload(running.url, name=base.hash)
    unload(running.url, name=first.checkpoint.hash)
    unload(running.url, name=base.hash)

    assert loaded() == {}
    assert reply(first) == before


def test_an_adapter_whose_base_is_gone_from_the_disk_does_not_answer_and_says_why(lineage):
    base, (first, second) = lineage
    folder = directory_of(base)
    shutil.move(folder, folder.with_name("away"))

    missing = answers(first)
    shutil.move(folder.with_name("away"), folder)
    back = answers(second)

    assert missing.standing == "not_met"
    assert base.hash in missing.says
    assert back.standing == "met"


def test_after_a_crash_the_base_and_the_adapter_come_back_by_being_asked_for(
    settings, tmp_path: Path
):
    served = launch(tmp_path, preload=False)
    settings.ARTEFACTS, settings.MODELSERVER_URLS = tmp_path, [served.url]
    settings.MODELSERVER_SECRET = SECRET
    base = register_checkpoint(tmp_path / "policy", name="base", origin="starter")
    deployment = _deployed(served, base, seed=1)
    before = reply(deployment)

    served.process.send_signal(signal.SIGKILL)
    served.process.wait(timeout=10)
    shutil.rmtree(tmp_path / "policy")
    shutil.rmtree(tmp_path / "ranker")
    again = launch(tmp_path, preload=False)
    settings.MODELSERVER_URLS = [again.url]
    nothing = loaded()
    after = reply(deployment)

    assert nothing == {}
    assert after == before
    assert set(loaded()) == {base.hash, deployment.checkpoint.hash}
    end(again)


def test_where_our_own_forward_does_not_read_the_base_the_adapter_is_merged(
    settings, tmp_path: Path
):
    """A GPU, or another architecture: here the server is told to know no fast forward."""
    program = ("-c", GENERAL)
    served = launch(tmp_path, preload=False, program=program)
    settings.ARTEFACTS, settings.MODELSERVER_URLS = tmp_path, [served.url]
    settings.MODELSERVER_SECRET = SECRET
    base = register_checkpoint(tmp_path / "policy", name="base", origin="starter")
    deployment = _deployed(served, base, seed=1)

    reply(deployment)
    identity, prompt = deployment.checkpoint.hash, list(range(3, 40))
    content = {"model": identity, "prompt": prompt, "max_tokens": 0, "echo": True, "logprobs": 0}
    told = served.post("/v1/completions", content).json()["choices"][0]["logprobs"]

    held = loaded()
    merged = load_language_model(directory_of(deployment.checkpoint)).model
    with torch.no_grad():
        every = merged(torch.tensor([prompt])).logits[0].log_softmax(dim=-1)
    expected = every[:-1].gather(1, torch.tensor(prompt)[1:, None])[:, 0]
    assert told["token_logprobs"][1:] == pytest.approx(expected.tolist(), abs=1e-4)
    assert [held[each]["base"] for each in (base.hash, identity)] == [None, None]
    assert held[identity]["weight_bytes"] == held[base.hash]["weight_bytes"]
    end(served)


GENERAL = """
from modelserving.lm import llama_reading
llama_reading.is_llama_like = lambda model: False
from modelserving.server.__main__ import main
main()
"""
