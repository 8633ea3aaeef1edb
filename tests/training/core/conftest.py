"""A tiny policy and a rollout of it."""

import pytest

from modelserving.lm.loading import LoadedModel, load_language_model
from tests.tiny_checkpoints import make_tiny_language_model
from tests.training.core.tiny_rollout import TEMPERATURE, prompt
from training.core.rollout import Rollout, collect


@pytest.fixture(scope="module")
def policy(tmp_path_factory) -> LoadedModel:
    directory = tmp_path_factory.mktemp("models") / "policy"
    make_tiny_language_model(directory)
    return load_language_model(directory)


@pytest.fixture(scope="module")
def rollout(policy: LoadedModel) -> Rollout:
    prompts = [prompt(policy, text) for text in ("Hello there", "a dog", "Tell me a story")]
    return collect(
        policy,
        prompts,
        samples_per_prompt=2,
        max_new_tokens=12,
        temperature=TEMPERATURE,
        seed=3,
    )
