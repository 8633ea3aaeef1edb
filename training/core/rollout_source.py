"""Where a run's responses come from: its own sampler, or a model server that takes the policy's new weights.

It does not know prompts, rewards or how the weights came about.
"""

import os
import secrets
import shutil
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import httpx
from transformers import PreTrainedModel

from modelserving.core.artifacts import publish, utc_now, write_manifest
from modelserving.lm.rollouts import sample
from training.core.distributed import Ranks

TOGETHER = 32  # requests under way at once; the server batches them
PATIENCE = 120.0  # seconds in which a full or restarting server is asked again
ANSWER_WITHIN = 600.0
ASK_AGAIN = (429, 502, 503, 504)
NOT_LOADED = 404  # of a server that restarted or made room for others
LOAD, UNLOAD = "/v1/checkpoints/load", "/v1/checkpoints/unload"
COMPLETE = "/v1/completions"
ATTEMPT_BITS = 48  # as many as travel between ranks exactly
SEED_BITS = (1 << 63) - 1


class EndpointFailed(RuntimeError):
    """The rollout endpoint refused or was gone for too long; the run can be resumed."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What to sample of each prompt: one seed decides each response."""

    prompts: Sequence[Sequence[int]]
    seeds: Sequence[Sequence[int]]
    max_new_tokens: int
    temperature: float
    stop_ids: Collection[int]


class ResponseSource(Protocol):
    """What a rollout needs."""

    def take_weights(self) -> None:
        """From now on sample with the policy as it is now."""

    def sample(self, wanted: Wanted) -> list[list[list[int]]]:
        """Token ids of the responses to each prompt, with the stop token where it came."""

    def close(self) -> None:
        """Let go of what the run held elsewhere."""


@dataclass(frozen=True, kw_only=True)
class OwnSampler:
    """Samples in this process, with the policy itself."""

    model: PreTrainedModel

    def take_weights(self) -> None:
        """Nothing to do: it reads the policy's own weights."""

    def sample(self, wanted: Wanted) -> list[list[list[int]]]:
        """All prompts in one batch that drains."""
        found = sample(
            self.model,
            wanted.prompts,
            samples_per_prompt=len(wanted.seeds[0]),
            max_new_tokens=wanted.max_new_tokens,
            temperature=wanted.temperature,
            seeds=wanted.seeds,
            stop_ids=wanted.stop_ids,
        )
        return [[each.token_ids for each in group] for group in found]

    def close(self) -> None:
        """It held nothing."""


class EndpointSampler:
    """Samples over HTTP: `POST /v1/checkpoints/load` with each round's weights, then `/v1/completions`.

    The server must see `folder` below one of its checkpoint roots. Rank 0 publishes, every rank asks for its share.
    """

    def __init__(
        self, url: str, *, folder: Path, writer: Callable[[], Callable[[Path], None]], ranks: Ranks
    ) -> None:
        """What `writer` makes, on every rank, puts weights and all else of the present policy into a directory."""
        self._folder, self._writer, self._ranks = folder, writer, ranks
        secret = os.environ.get("MODELSERVER_SECRET", "")
        headers = {"authorization": f"Bearer {secret}"} if secret else {}
        self._client = httpx.Client(base_url=url, headers=headers, timeout=ANSWER_WITHIN)
        # a server takes a name that it knows for loaded: a resumed run must not repeat those of before
        (number,) = ranks.from_main([float(secrets.randbits(ATTEMPT_BITS))])
        self._attempt = f"{int(number):x}"
        self._round = 0

    @property
    def _weights(self) -> Path:
        """Where this round's weights stand."""
        return (self._folder / f"{self._attempt}-{self._round}").resolve()

    def _name(self, weights: Path) -> str:
        """What a round's weights are called on the server: unlike those of any other run or attempt."""
        return f"rollouts-{self._folder.parent.name}-{weights.name}"

    def take_weights(self) -> None:
        """Publish the policy, have it loaded, and let go of those before, also of an attempt that died."""
        self._round += 1
        write = self._writer()
        if self._ranks.is_main:
            self._publish(write=write)
            self._load()
            for old in self._folder.iterdir():
                if old.name != self._weights.name:
                    self._ask(UNLOAD, {"name": self._name(old)})
                    shutil.rmtree(old)
        self._ranks.wait()

    def close(self) -> None:
        """Have weights unloaded and delete them; those of a server that is gone wait for the run's next attempt."""
        if self._ranks.is_main:
            for weights in list(self._folder.glob("*")):
                answer, _ = self._post(UNLOAD, {"name": self._name(weights)})
                if answer is not None:
                    shutil.rmtree(weights)
        self._client.close()

    def _publish(self, *, write: Callable[[Path], None]) -> None:
        partial = self._weights.with_name(f"{self._weights.name}.partial")
        partial.mkdir(parents=True)
        write(partial)
        write_manifest(partial, kind="policy", parents=[], config={}, code="", created=utc_now())
        publish(partial, self._weights)

    def _load(self) -> None:
        self._ask(LOAD, {"path": str(self._weights), "name": self._name(self._weights)})

    def sample(self, wanted: Wanted) -> list[list[list[int]]]:
        """One request for each prompt, many at once."""
        with ThreadPoolExecutor(TOGETHER) as pool:
            return list(
                pool.map(
                    lambda prompt, seeds: self._complete(prompt, seeds, wanted),
                    wanted.prompts,
                    wanted.seeds,
                )
            )

    def _complete(
        self, prompt: Sequence[int], seeds: Sequence[int], wanted: Wanted
    ) -> list[list[int]]:
        content = {
            "model": self._name(self._weights),
            "prompt": [list(prompt)],
            "n": len(seeds),
            "seed": seeds[0] & SEED_BITS,
            "max_tokens": wanted.max_new_tokens,
            "temperature": wanted.temperature,
            "top_p": 1.0,
            "return_token_ids": True,
        }
        choices = self._ask(COMPLETE, content)["choices"]
        ordered = sorted(choices, key=lambda choice: choice["index"])
        return [choice["token_ids"][: wanted.max_new_tokens] for choice in ordered]

    def _ask(self, route: str, content: dict[str, Any]) -> dict[str, Any]:
        """The answer of a server that may be full or restarting; one that lost the weights gets them again."""
        ends = time.monotonic() + PATIENCE
        while True:
            answer, problem = self._post(route, content)
            if answer is not None and answer.is_success:
                found: dict[str, Any] = answer.json()
                return found
            status = answer.status_code if answer is not None else None
            if status == NOT_LOADED and route == UNLOAD:
                return {}
            lost_weights = status == NOT_LOADED and route == COMPLETE
            may_pass = status is None or status in ASK_AGAIN or lost_weights
            if not may_pass or time.monotonic() > ends:
                raise EndpointFailed(
                    f"{str(self._client.base_url).rstrip('/')}{route} answered {problem}: mend rollout_endpoint, then resume"
                )
            if lost_weights:
                self._load()
            time.sleep(1.0)

    def _post(self, route: str, content: dict[str, Any]) -> tuple[httpx.Response | None, str]:
        """The answer, if there is one, and what it says where it is no success."""
        try:
            answer = self._client.post(route, json=content)
        except httpx.TransportError as gone:
            return None, str(gone) or type(gone).__name__
        return answer, f"{answer.status_code} {answer.text[:300]}"
