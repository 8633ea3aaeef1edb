"""The request for one reply of a deployment: who answers it, with which settings, from which checkpoints.

Knows deployments and the protocol's fields; sends nothing.
"""

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from modelserving.client.calls import Call, Needed
from modelserving.client.endpoints import Endpoint, model_servers, outside_endpoint
from modelserving.core.completion import storable
from modelserving.models import Checkpoint, Deployment
from modelserving.registry import directory_of

Message = Mapping[str, str]


def never() -> bool:
    """For replies that nobody stops."""
    return False


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What was asked of a deployment, and since when."""

    deployment: Deployment
    messages: Sequence[Message]
    seed: int
    user: str
    patience: float
    begun: float = field(default_factory=time.monotonic)

    @property
    def milliseconds(self) -> int:
        """Time since it was asked."""
        return round((time.monotonic() - self.begun) * 1000)

    @property
    def clean_messages(self) -> list[dict[str, str]]:
        """The messages as JSON can carry them."""
        return [
            {"role": each["role"], "content": storable(each["content"])} for each in self.messages
        ]

    @property
    def prompt_sha256(self) -> str:
        """Identifies the prompt exactly."""
        text = json.dumps(self.clean_messages, ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(text.encode("utf-8")).hexdigest()

    @property
    def sampling(self) -> dict[str, Any]:
        """The settings of the reply, as it stores them."""
        deployment = self.deployment
        stored: dict[str, Any] = {
            "temperature": deployment.temperature,
            "top_p": deployment.top_p,
            "max_new_tokens": deployment.max_new_tokens,
        }
        if deployment.ranker is not None:
            stored |= {"best_of": deployment.best_of, "ranker": deployment.ranker.hash}
        return stored

    def call(self, *, is_stopped: Callable[[], bool] = never, **more: Any) -> Call:
        """The request to whoever serves the deployment."""
        deployment = self.deployment
        content: dict[str, Any] = {
            "messages": self.clean_messages,
            "temperature": deployment.temperature,
            "top_p": deployment.top_p,
            "max_tokens": deployment.max_new_tokens,
            "seed": self.seed,
            "user": self.user,
            **more,
        }
        if deployment.checkpoint is None:
            outside = outside_endpoint(
                deployment.endpoint_url, secret_env=deployment.endpoint_secret_env
            )
            content["model"] = deployment.endpoint_model
            route, servers, needs = "/chat/completions", [outside], []
        else:
            content |= {"model": deployment.checkpoint.hash, "return_token_ids": True}
            route, servers = "/v1/chat/completions", None
            ranker = [deployment.ranker] if deployment.ranker else []
            needs = [needed(each) for each in [deployment.checkpoint, *ranker]]
        return Call(
            route=route,
            content=content,
            servers=model_servers if servers is None else _always(servers),
            needs=needs,
            is_stopped=is_stopped,
            patience=self.patience,
        )


def _always(servers: list[Endpoint]) -> Callable[[], list[Endpoint]]:
    return lambda: servers


def needed(checkpoint: Checkpoint) -> Needed:
    """How a server is asked for the checkpoint."""
    return Needed(name=checkpoint.hash, path=str(directory_of(checkpoint)))
