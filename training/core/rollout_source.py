"""Where a run's responses come from: its own sampler, or a model server that takes the policy's new weights.

It does not know prompts, rewards or how the weights came about.
"""

import os
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
        """Token ids of the responses to each prompt, with the end token where it came."""


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
        self._round = 0

    @property
    def _name(self) -> str:
        """Of this round's weights on the server: unlike that of any other run."""
        return f"rollouts-{self._folder.parent.name}-{self._round}"

    def take_weights(self) -> None:
        """Publish the policy, have it loaded, and let go of the one before."""
        before, old = self._name, self._folder / str(self._round)
        self._round += 1
        write = self._writer()
        if self._ranks.is_main:
            directory = self._publish(self._folder / str(self._round), write=write)
            self._ask("/v1/checkpoints/load", {"path": str(directory), "name": self._name})
            if old.exists():
                self._ask("/v1/checkpoints/unload", {"name": before})
                shutil.rmtree(old)
        self._ranks.wait()

    def _publish(self, final: Path, *, write: Callable[[Path], None]) -> Path:
        partial = final.with_suffix(".partial")
        for left in (partial, final):  # of an attempt that died
            shutil.rmtree(left, ignore_errors=True)
        partial.mkdir(parents=True)
        write(partial)
        write_manifest(partial, kind="policy", parents=[], config={}, code="", created=utc_now())
        publish(partial, final)
        return final.resolve()

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
            "model": self._name,
            "prompt": [list(prompt)],
            "n": len(seeds),
            "seed": seeds[0] & SEED_BITS,
            "max_tokens": wanted.max_new_tokens,
            "temperature": wanted.temperature,
            "top_p": 1.0,
            "return_token_ids": True,
        }
        choices = self._ask("/v1/completions", content)["choices"]
        ordered = sorted(choices, key=lambda choice: choice["index"])
        return [choice["token_ids"][: wanted.max_new_tokens] for choice in ordered]

    def _ask(self, route: str, content: dict[str, Any]) -> dict[str, Any]:
        ends = time.monotonic() + PATIENCE
        while True:
            problem, answer = "", None
            try:
                answer = self._client.post(route, json=content)
            except httpx.TransportError as gone:
                problem = str(gone) or type(gone).__name__
            if answer is not None and answer.is_success:
                found: dict[str, Any] = answer.json()
                return found
            if answer is not None:
                problem = f"{answer.status_code} {answer.text[:300]}"
            if time.monotonic() > ends or (answer and answer.status_code not in ASK_AGAIN):
                raise EndpointFailed(
                    f"{str(self._client.base_url).rstrip('/')}{route} answered {problem}: mend rollout_endpoint, then resume"
                )
            time.sleep(1.0)
