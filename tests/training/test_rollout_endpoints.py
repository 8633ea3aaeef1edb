"""A run samples on model servers that whoever runs this machine named, and asks nobody else.

Knows rows and settings; no process is started here.
"""

import pytest

from tests.comparisons.making import make_checkpoint
from tests.training.making import make_release, write_starter
from training.models import TrainingRun
from training.services import RunRefused, RunRequest, start_run


@pytest.fixture(autouse=True)
def starter(settings, tmp_path):
    settings.STARTER_CHECKPOINT = write_starter(tmp_path / "starter")


SAMPLED_ELSEWHERE = (
    "http://10.0.0.5:9200/x?", "http://10.0.0.5:9200", "http://gpu:8100@10.0.0.5",
    "http://gpu:8100.evil.example", "http://gpu:81", "https://gpu:8100", "http://[::1",
    "http://169.254.169.254/latest/meta-data",
)  # fmt: skip


@pytest.mark.django_db
@pytest.mark.parametrize("endpoint", SAMPLED_ELSEWHERE)
def test_responses_are_sampled_on_no_address_that_the_operator_did_not_name(settings, endpoint):
    settings.MODELSERVER_URLS, settings.ALLOWED_ENDPOINTS = (
        ["http://gpu:8100"],
        ["https://b.example"],
    )
    release, _pm = make_release(), make_checkpoint(kind="preference_model")
    asked = RunRequest(kind="ppo", release=release, overrides={"rollout_endpoint": endpoint})

    with pytest.raises(RunRefused, match="rollout_endpoint"):
        start_run(asked, requested_by=None)

    assert not TrainingRun.objects.exists()


@pytest.mark.django_db
@pytest.mark.parametrize("endpoint", ["", "http://gpu:8100/", "https://b.example/vllm"])
def test_responses_are_sampled_here_or_on_a_server_that_the_operator_named(settings, endpoint):
    settings.MODELSERVER_URLS, settings.ALLOWED_ENDPOINTS = (
        ["http://gpu:8100"],
        ["https://b.example"],
    )
    release, _pm = make_release(), make_checkpoint(kind="preference_model")
    asked = RunRequest(kind="ppo", release=release, overrides={"rollout_endpoint": endpoint})

    assert start_run(asked, requested_by=None).config["rollout_endpoint"] == endpoint
