"""Rollouts from a model server over HTTP: the policy's newest weights answer, and a run ends like any other."""

import shutil
from pathlib import Path

import pytest

from modelserving.lm.loading import load_language_model
from tests.modelserving.server.conftest import SECRET, Served, end, launch
from tests.tiny_checkpoints import make_tiny_language_model
from tests.training.core.ppo_inputs import CONFIG
from tests.training.core.test_preference_training import metrics, status
from tests.training.core.tiny import make_run
from tests.training.core.tiny_release import make_release, row
from training.config import ConfigError, PPOConfig
from training.core.__main__ import run
from training.core.distributed import Ranks
from training.core.rollout_source import EndpointFailed, EndpointSampler, OwnSampler, Wanted

WANTED = Wanted(
    prompts=[(5, 6, 7), (8, 9, 10, 11)], seeds=[(1, 2), (3, 4)], max_new_tokens=6,
    temperature=0.001, stop_ids=(),
)  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory):
    running = launch(tmp_path_factory.mktemp("served"))
    yield running
    end(running)


@pytest.fixture(autouse=True)
def _secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELSERVER_SECRET", SECRET)


def test_a_run_samples_over_http_with_each_rounds_weights(server: Served):
    rows = [row(index) for index in range(16)]
    release = make_release(server.root / "release", train=rows, test=[row(100), row(101)])
    inputs = {"initial": server.root / "policy", "ranker": server.root / "ranker"}
    config = CONFIG | {
        "rollout_endpoint": server.url, "steps": 2, "learning_rate": 0.01, "held_out_prompts": 2,
    }  # fmt: skip
    path = make_run(server.root / "run", config=config, inputs={**inputs, "release": release})

    assert run(path) == 0

    assert status(path)["state"] == "done"
    first, second = metrics(path)[1:]
    assert first["ppo/policy/first_ratio_error"] == second["ppo/policy/first_ratio_error"] == 0.0
    assert second["objective/kl_k3"] > 0.0
    assert list((path / "rollout-weights").iterdir()) == []
    assert [each["id"] for each in loaded(server) if "rollouts-run-" in each["id"]] == []


def loaded(server: Served) -> list[dict]:
    with server.client() as client:
        return client.get("/v1/models").json()["data"]


def own_samples(directory: Path) -> list[list[list[int]]]:
    return OwnSampler(model=load_language_model(directory).model).sample(WANTED)


def source_of(server: Served, made: list[Path], *, run: str) -> EndpointSampler:
    """One attempt of a run, whose policy of each round is the next of those made."""
    rounds = iter(made)

    def write(directory: Path) -> None:
        for file in next(rounds).iterdir():
            if file.name != "manifest.json":
                shutil.copyfile(file, directory / file.name)

    folder = server.root / run / "weights"
    return EndpointSampler(server.url, folder=folder, writer=lambda: write, ranks=Ranks())


@pytest.fixture(scope="module")
def made(server: Served) -> list[Path]:
    """Two policies that say different things."""
    found = [server.root / "made-1", server.root / "made-2"]
    for seed, directory in enumerate(found, start=11):
        make_tiny_language_model(directory, seed=seed)
    return found


def test_the_newest_weights_answer(server: Served, made: list[Path]):
    source = source_of(server, made, run="round")
    found = []
    for directory in made:
        source.take_weights()
        theirs = source.sample(WANTED)
        found.append(theirs)
        assert [[len(each) for each in group] for group in theirs]
        assert theirs == own_samples(directory)

    assert found[0] != found[1]


def test_a_resumed_run_samples_with_the_weights_it_resumed_with(server: Served, made: list[Path]):
    source_of(server, made[:1], run="resumed").take_weights()  # and the attempt dies
    resumed = source_of(server, made[1:], run="resumed")

    resumed.take_weights()

    assert resumed.sample(WANTED) == own_samples(made[1])
    assert len([each for each in loaded(server) if "rollouts-resumed-" in each["id"]]) == 1
    assert len(list((server.root / "resumed" / "weights").iterdir())) == 1


def test_a_server_that_lost_the_weights_gets_them_again(server: Served, made: list[Path]):
    source = source_of(server, made, run="lost")

    def lose() -> None:
        (name,) = [each["id"] for each in loaded(server) if "rollouts-lost-" in each["id"]]
        server.post("/v1/checkpoints/unload", {"name": name}).raise_for_status()

    source.take_weights()
    lose()
    first = source.sample(WANTED)
    lose()
    source.take_weights()
    second = source.sample(WANTED)

    assert [first, second] == [own_samples(each) for each in made]


def test_an_endpoint_that_is_gone_ends_the_run_with_its_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("training.core.rollout_source.PATIENCE", 0.0)
    source = EndpointSampler(
        "http://127.0.0.1:9",
        folder=tmp_path / "run" / "weights",
        writer=lambda: lambda _: None,
        ranks=Ranks(),
    )

    with pytest.raises(EndpointFailed, match=r"127\.0\.0\.1:9/v1/checkpoints/load"):
        source.take_weights()
    source.close()

    assert (
        len(list((tmp_path / "run" / "weights").iterdir())) == 1
    )  # for the next attempt to unload


def test_an_endpoint_is_an_http_address():
    with pytest.raises(ConfigError, match="rollout_endpoint"):
        PPOConfig(rollout_endpoint="localhost:8000")
