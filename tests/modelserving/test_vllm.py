"""Deployments that vLLM serves: its stream, its errors, and new policies as adapters while it runs."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.core.management import CommandError, call_command

from modelserving.client import endpoints
from modelserving.core.completion import Completion
from modelserving.generation import GenerationFailed, answers, stream
from modelserving.models import Deployment
from tests.fake_http import running
from tests.modelserving.fake_vllm import BASE, FakeVllm
from tests.modelserving.serving import make_deployment

pytestmark = pytest.mark.django_db
ADAPTER = "/adapters/policy-7"
KEY = "a key of vLLM"


@contextmanager
def vllm(settings, monkeypatch, **more) -> Iterator[tuple[FakeVllm, str]]:
    server = FakeVllm(adapters_exist={ADAPTER}, key=KEY, **more)
    monkeypatch.setenv("ENDPOINT_SECRET_VLLM", KEY)
    with running(server) as url:
        settings.ALLOWED_ENDPOINTS = [url]
        yield server, f"{url}/v1"
    for endpoint in endpoints._known.values():
        endpoint.http.close()
    endpoints._known.clear()


def of_vllm(url: str, model: str) -> Deployment:
    return make_deployment(
        model, endpoint_url=url, endpoint_model=model, endpoint_secret_env="ENDPOINT_SECRET_VLLM"
    )


def text_of(deployment: Deployment) -> str:
    messages = [{"role": "user", "content": "Hello"}]
    *_, last = stream(deployment, messages, seed=1, user="u", patience=2)
    assert isinstance(last, Completion)
    return last.text


def adapter(action: str, name: str, url: str, **more: str) -> None:
    call_command("adapter", action, name, endpoint=url, secret_env="ENDPOINT_SECRET_VLLM", **more)


def test_a_new_policy_is_served_as_an_adapter_without_a_restart(settings, monkeypatch, capsys):
    with vllm(settings, monkeypatch) as (server, url):
        base, policy = of_vllm(url, BASE), of_vllm(url, "policy-7")
        before = answers(policy)

        adapter("load", "policy-7", url, path=ADAPTER)
        adapter("load", "policy-7", url, path=ADAPTER)
        texts = [text_of(policy), text_of(base)]
        adapter("unload", "policy-7", url)
        adapter("unload", "policy-7", url)
        with pytest.raises(GenerationFailed, match="does not exist") as gone:
            text_of(policy)

    assert (before.standing, before.says) == ("not_met", "The model `policy-7` does not exist.")
    assert texts == ["from policy-7", f"from {BASE}"]
    assert not gone.value.is_retryable
    assert "policy-7: loaded at" in capsys.readouterr().out
    assert set(server.requests[-1]) == {
        "messages", "temperature", "top_p", "max_tokens", "seed", "user", "model", "stream",
    }  # fmt: skip


def test_what_vllm_refuses_is_said_in_one_line(settings, monkeypatch):
    with vllm(settings, monkeypatch) as (_, url):
        with pytest.raises(CommandError, match="No adapter found for /nowhere"):
            adapter("load", "policy-8", url, path="/nowhere")
        with pytest.raises(CommandError, match="load needs --path"):
            adapter("load", "policy-8", url)
        with pytest.raises(CommandError, match="does not accept our secret"):
            call_command("adapter", "load", "policy-8", endpoint=url, path=ADAPTER)
        with pytest.raises(CommandError, match="not allowed"):
            adapter("load", "policy-8", "http://169.254.169.254/v1", path=ADAPTER)


def test_a_server_that_may_not_change_its_adapters_says_how_to_allow_it(settings, monkeypatch):
    with (
        vllm(settings, monkeypatch, may_update=False) as (_, url),
        pytest.raises(CommandError, match="VLLM_ALLOW_RUNTIME_LORA_UPDATING"),
    ):
        adapter("load", "policy-7", url, path=ADAPTER)
