"""Which comparisons of a release a run uses, and what it says of those that it leaves out."""

from pathlib import Path

import pytest

from tests.tiny_checkpoints import make_tiny_language_model
from tests.training.core.test_preference_training import CONFIG, metrics, status
from tests.training.core.tiny import make_run
from tests.training.core.tiny_release import make_release, row
from training.core.__main__ import run
from training.core.batching import in_half


@pytest.fixture(scope="module")
def initial(tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("models") / "initial"
    make_tiny_language_model(directory)
    return directory


def test_rows_that_say_nothing_are_left_out_and_counted(initial: Path, tmp_path: Path):
    train = [
        row(0),
        row(1, strength=1),
        row(2, strength=4),
        row(3, other="I am well, Hello"),
        row(4, finish_reasons=["stop", "stopped"]),
    ]
    odd = make_release(tmp_path / "odd", train=train, test=[row(10)])
    path = make_run(tmp_path / "run", config=CONFIG, inputs={"initial": initial, "release": odd})

    assert run(path) == 0

    counts = status(path)["results"]["comparisons"]
    assert counts["train"] == 2  # strength null and 4
    assert counts["left_out"] == {
        "unsure": 1,
        "same text on both sides": 1,
        "stopped by a person": 1,
    }


def test_an_objective_of_weight_0_is_left_out_and_counted(initial: Path, tmp_path: Path):
    rows = [row(0, objective="harmless"), row(1, objective="helpful")]
    both = make_release(tmp_path / "both", train=rows, test=rows)
    inputs = {"initial": initial, "release": both}
    config = CONFIG | {"batch_comparisons": 1, "objective_weights": {"harmless": 0.0}}
    path = make_run(tmp_path / "run", config=config, inputs=inputs)
    none = config | {"objectives": ["harmless"]}
    refused = make_run(tmp_path / "refused", config=none, inputs=inputs)

    assert run(path) == 0
    assert run(refused) == 2

    left_out = status(path)["results"]["comparisons"]["left_out"]
    assert [each["step"] for each in metrics(path)] == [1]
    assert left_out == {"an objective of weight 0": 2}  # of each split one
    assert "'an objective of weight 0': 2" in status(refused)["reason"]


def test_a_release_that_leaves_nothing_is_refused(initial: Path, tmp_path: Path):
    rows = [row(0), row(1)]
    release = make_release(tmp_path / "release", train=rows, test=rows)
    inputs = {"initial": initial, "release": release}
    path = make_run(tmp_path / "run", config=CONFIG | {"tranches": ["online"]}, inputs=inputs)

    assert run(path) == 2

    assert "leaves no train comparison" in status(path)["reason"]


@pytest.mark.parametrize(
    "named", [{"objectives": ["harmles"]}, {"objective_weights": {"harmles": 2.0}}]
)
def test_an_objective_that_is_none_is_refused(initial: Path, tmp_path: Path, named: dict):
    rows = [row(0, objective="helpful"), row(1, objective="from elsewhere")]
    release = make_release(tmp_path / "both", train=rows, test=rows)
    inputs = {"initial": initial, "release": release}
    path = make_run(tmp_path / "run", config=CONFIG | named, inputs=inputs)
    known = CONFIG | {"objective_weights": {"from elsewhere": 2.0, "harmless": 1.0}}
    fine = make_run(tmp_path / "fine", config=known, inputs=inputs)

    assert run(path) == 2
    assert run(fine) == 0

    (name,) = named
    assert f"{name} names 'harmles', which no row has" in status(path)["reason"]


def test_halves_one_of_which_is_empty_are_refused_before_the_first_step(
    initial: Path, tmp_path: Path
):
    text = "Tell me about a dog"
    assert in_half(text, "second")
    rows = [row(index, messages=[{"role": "user", "content": text}]) for index in range(2)]
    release = make_release(tmp_path / "release", train=rows, test=rows)
    inputs = {"initial": initial, "release": release}
    path = make_run(tmp_path / "run", config=CONFIG | {"disjoint_models": 2}, inputs=inputs)

    assert run(path) == 2

    assert "of the first half of the conversations" in status(path)["reason"]
    assert "set disjoint_models to 1" in status(path)["reason"]
    assert not (path / "metrics.jsonl").exists()
