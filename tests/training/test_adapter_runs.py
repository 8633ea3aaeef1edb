"""Two LoRA policies from one start, from the run's settings to replies: the trainer and the server are real."""

from pathlib import Path

import pytest

from modelserving import registry
from modelserving.client import endpoints
from modelserving.client.statuses import server_statuses
from modelserving.deployments import create_deployment
from modelserving.generation import answers
from modelserving.models import Checkpoint
from tests.modelserving.server.conftest import SECRET, end, launch
from tests.training.making import make_release
from training import process
from training.models import TrainingRun
from training.services import RunRequest, start_run

pytestmark = [
    pytest.mark.django_db(transaction=True), pytest.mark.one_database, pytest.mark.timeout(600),
]  # fmt: skip
TINY = {
    "steps": "1", "batch_prompts": "4", "minibatches": "2", "micro_tokens": "512", "max_prompt_tokens": "64",
    "max_response_tokens": "8", "held_out_prompts": "4", "normalization_samples": "4", "threads": "1",
    "device": "cpu", "lora.rank": "4", "lora.publish": "adapter",
}  # fmt: skip


def test_lora_policies_of_one_start_are_adapters_of_it_and_answer(settings, tmp_path: Path):
    served = launch(tmp_path, preload=False)
    settings.ARTEFACTS, settings.MODELSERVER_URLS = tmp_path, [served.url]
    settings.MODELSERVER_SECRET, settings.STARTER_CHECKPOINT = SECRET, tmp_path / "policy"
    process.shutting_down.clear()
    start = registry.ensure_starter()
    ranker = registry.register_checkpoint(tmp_path / "ranker", name="ranker", origin="trained")
    release = make_release("r1")

    made = [_trained(release, initial=start, ranker=ranker, seed=seed) for seed in (1, 2)]
    deployments = [create_deployment(name=f"ppo {c.pk}", checkpoint=c) for c in made]
    gates = [answers(each).standing for each in deployments]

    assert [each.base for each in made] == [start, start]
    assert made[0].hash != made[1].hash
    assert [set(each.parents.all()) for each in made] == [{start, ranker}] * 2
    assert all(each.size < start.size for each in made)
    assert gates == ["met", "met"]
    held = {each["name"]: each["base"] for each in server_statuses()[0].checkpoints}
    assert held == {start.hash: None} | {each.hash: start.hash for each in made}
    for endpoint in endpoints._known.values():
        endpoint.http.close()
    endpoints._known.clear()
    end(served)


def _trained(release, *, initial: Checkpoint, ranker: Checkpoint, seed: int) -> Checkpoint:
    request = RunRequest(
        kind="ppo", release=release, initial=initial, ranker=ranker,
        overrides=TINY | {"seed": str(seed)},
    )  # fmt: skip
    run = start_run(request, requested_by=None)
    process.execute(run.pk)
    run.refresh_from_db()
    assert run.state == TrainingRun.State.DONE, run.reason
    assert run.checkpoint is not None
    return run.checkpoint
