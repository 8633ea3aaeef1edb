"""What a small PPO run of the tests is made from: its configuration and inputs."""

from pathlib import Path

from tests.tiny_checkpoints import make_tiny_language_model, make_tiny_preference_model
from tests.training.core.tiny_release import make_release, row

CONFIG = {
    "kind": "ppo",
    "device": "cpu",
    "threads": 1,
    "steps": 4,
    "batch_prompts": 6,
    "samples_per_prompt": 2,
    "minibatches": 3,
    "inner_epochs": 2,
    "micro_tokens": 64,
    "max_prompt_tokens": 64,
    "max_response_tokens": 8,
    "held_out_prompts": 4,
    "normalization_samples": 8,
    "evaluate_every": 2,
    "checkpoint_every": 1,
}


def make_ppo_inputs(folder: Path) -> dict[str, Path]:
    """A policy, two preference models and a release, by role."""
    make_tiny_language_model(folder / "initial")
    make_tiny_preference_model(folder / "ranker", seed=1)
    make_tiny_preference_model(folder / "test-pm", seed=2)
    train, test = [row(index) for index in range(16)], [row(index) for index in range(100, 108)]
    release = make_release(folder / "release", train=train, test=test)
    models = {"initial": folder / "initial", "ranker": folder / "ranker"}
    return {**models, "test_pm": folder / "test-pm", "release": release}
