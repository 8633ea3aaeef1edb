"""The constant that centres a preference model's scores; the start itself is tested with whole runs."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from modelserving.lm.loading import LoadedModel, load_preference_model
from tests.tiny_checkpoints import make_tiny_preference_model
from tests.training.core.tiny_release import conversation, make_release, row
from training.core.batching import EncodedComparison, encode_comparison
from training.core.data import read_release
from training.core.preference_start import score_center


@pytest.fixture
def ranker(tmp_path: Path) -> LoadedModel:
    make_tiny_preference_model(tmp_path / "ranker")
    return load_preference_model(tmp_path / "ranker")


def held_out(ranker: LoadedModel, folder: Path) -> Sequence[EncodedComparison]:
    rows = [*(row(index) for index in range(8)), *conversation(9, turns=3)]
    release = make_release(folder, train=rows, test=rows)
    encoding = {"encoder": ranker.tokenizer, "layout": ranker.dialogue_format}
    return [encode_comparison(each, **encoding) for each in read_release(release, "test")]


def test_the_centre_is_of_responses_from_all_over_the_file(ranker: LoadedModel, tmp_path: Path):
    comparisons = held_out(ranker, tmp_path / "release")

    some, reversed_some = (
        score_center(ranker.model, each, dialogues=6) for each in (comparisons, comparisons[::-1])
    )
    first = score_center(ranker.model, comparisons[:3], dialogues=6)

    assert reversed_some == pytest.approx(some, abs=1e-6)
    assert some != pytest.approx(first, abs=1e-3)


def test_the_centre_of_all_responses_is_their_mean(ranker: LoadedModel, tmp_path: Path):
    comparisons = held_out(ranker, tmp_path / "release")

    center = score_center(ranker.model, comparisons, dialogues=1000)

    alone = [score_center(ranker.model, [each], dialogues=2) for each in comparisons]
    assert center == pytest.approx(sum(alone) / len(alone), abs=1e-5)
