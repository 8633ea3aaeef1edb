"""Which network the critic begins as; the updates themselves are tested with whole runs."""

from dataclasses import replace
from pathlib import Path

import pytest

from modelserving.core.dialogue import DialogueFormat
from modelserving.lm.loading import load_language_model, load_preference_model
from modelserving.lm.tokenizer import train_tokenizer
from tests.tiny_checkpoints import make_tiny_language_model, make_tiny_preference_model
from training.config import PPOConfig
from training.core.ppo_learner import critic_is_ranker


@pytest.mark.parametrize(
    ("value_network", "has_same_tokens", "is_copy"),
    [("separate", True, True), ("separate", False, False), ("shared", True, False)],
)
def test_the_critic_is_the_rankers_copy_where_it_reads_the_same_tokens(
    tmp_path: Path, value_network: str, has_same_tokens: bool, is_copy: bool
):
    make_tiny_language_model(tmp_path / "policy")
    make_tiny_preference_model(tmp_path / "ranker")
    policy = load_language_model(tmp_path / "policy")
    ranker = load_preference_model(tmp_path / "ranker")
    if not has_same_tokens:
        layout = DialogueFormat(context_tokens=64)
        other = train_tokenizer(["other words"], vocabulary_size=300, layout=layout)
        ranker = replace(ranker, tokenizer=other)

    config = PPOConfig(value_network=value_network)

    assert critic_is_ranker(policy, ranker, config=config) is is_copy
