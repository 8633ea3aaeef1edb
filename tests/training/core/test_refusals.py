"""What a run refuses before its first step: the exit code, the step, and a message that names the cure."""

from pathlib import Path
from typing import Any

import pytest

from modelserving.core.artifacts import ArtefactError
from tests.tiny_checkpoints import make_tiny_language_model, make_tiny_preference_model
from tests.training.core.ppo_inputs import CONFIG as PPO
from tests.training.core.test_best_of_k import CONFIG as BEST_OF_K
from tests.training.core.test_preference_training import CONFIG as PM
from tests.training.core.test_preference_training import status
from tests.training.core.tiny import language_model_config, make_corpus, make_run
from tests.training.core.tiny_release import make_release, row
from training.config import ConfigError
from training.core.__main__ import CRASHED, DONE, REFUSED, run
from training.core.language_model_training import _Trainer


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("inputs")
    make_tiny_language_model(folder / "initial")
    make_tiny_preference_model(folder / "ranker")
    rows = [row(index) for index in range(8)]
    make_release(folder / "release", train=rows, test=rows)
    return {name: folder / name for name in ("initial", "ranker", "release")}


@pytest.mark.parametrize(
    ("config", "roles", "reason"),
    [
        (PPO, {"ranker": "initial"}, "is a language_model, expected preference_model: choose"),
        (PM, {"initial": "release"}, "is a release, expected language_model or policy: choose"),
        (BEST_OF_K, {"initial": "ranker"}, "is a preference_model, expected language_model"),
        (PPO | {"max_prompt_tokens": 2}, {}, "max_prompt_tokens is 2: set it to 16 or more"),
        (BEST_OF_K | {"max_prompt_tokens": 2}, {}, "max_prompt_tokens is 2: set it to 16 or more"),
        (PM | {"max_tokens": 8}, {}, "max_tokens"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(
    inputs: dict[str, Path], tmp_path: Path, config: dict[str, Any], roles: dict, reason: str
):
    given = inputs | {role: inputs[name] for role, name in roles.items()}
    path = make_run(tmp_path / "run", config=config, inputs=given)

    assert run(path) == REFUSED

    ended = status(path)
    assert (ended["state"], ended["step"]) == ("failed", 0)
    assert reason in ended["reason"]


@pytest.mark.parametrize(
    ("error", "taken", "code", "step"),
    [
        (ArtefactError("gone"), 0, REFUSED, 4),
        (ArtefactError("gone"), 1, CRASHED, -1),  # it was usable: another attempt may go on
        (ConfigError("wrong"), 0, REFUSED, 4),
        (ConfigError("wrong"), 1, REFUSED, 5),
        (ZeroDivisionError("a fault of ours"), 0, CRASHED, -1),
    ],
)
def test_an_attempt_that_goes_on_at_step_4_is_refused_at_the_step_it_came_to(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    taken: int,
    code: int,
    step: int,
):
    config = language_model_config(checkpoint_every=100)
    corpus = make_corpus(tmp_path / "corpus")
    path = make_run(tmp_path / "run", config=config, inputs={"corpus": corpus})
    train_step = _Trainer._train_step

    def until_step_4(trainer: _Trainer) -> None:
        train_step(trainer)
        trainer.run._interrupted = trainer.step == 4

    def until_the_error(trainer: _Trainer) -> None:
        if trainer.step == 4 + taken:
            raise error
        train_step(trainer)

    monkeypatch.setattr(_Trainer, "_train_step", until_step_4)
    assert run(path) == DONE
    assert (status(path)["state"], status(path)["step"]) == ("interrupted", 4)
    monkeypatch.setattr(_Trainer, "_train_step", until_the_error)

    assert run(path) == code

    assert (status(path)["state"], status(path)["step"]) == ("failed", step)
    assert str(error) in status(path)["reason"]
