"""Scores for serving are those of one plain forward per dialogue."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification, GPT2Config

from modelserving.lm import scoring
from modelserving.lm.loading import LoadedModel, load_preference_model
from modelserving.lm.preference_model import score_dialogues
from modelserving.lm.scoring import Scorer
from tests.tiny_checkpoints import make_tiny_preference_model, tiny_tokenizer

OPENING = [{"role": "user", "content": "Tell me a story about a dog and a cat."}]
REPLIES = ["Once upon a time.", "Once upon a day there was a dog.", "No.", "", "Grüße 🙂"]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("ranker")
    make_tiny_preference_model(found)
    return found


def dialogues() -> list[list[dict[str, str]]]:
    other = [{"role": "user", "content": "How are you today?"}]
    longer = [*OPENING, {"role": "assistant", "content": "No."}, *other]
    replies = [{"role": "assistant", "content": text} for text in REPLIES]
    return [[*start, reply] for reply in replies for start in (OPENING, other, longer)]


def test_scores_equal_one_plain_forward_each(directory: Path) -> None:
    loaded = load_preference_model(directory)
    alone = [float(score_dialogues(loaded, [each])[0]) for each in dialogues()]

    together = Scorer(loaded).score_dialogues(dialogues())

    assert together == pytest.approx(alone, abs=1e-5)
    assert len({round(score, 4) for score in together}) > 10


def test_another_architecture_is_read_by_its_own_forward(directory: Path) -> None:
    loaded = load_preference_model(directory)
    torch.manual_seed(3)
    config = GPT2Config(
        vocab_size=tiny_tokenizer().vocabulary_size, n_embd=32, n_layer=2, n_head=4, num_labels=1,
        initializer_range=0.3, bos_token_id=0, eos_token_id=0, pad_token_id=1,
    )  # fmt: skip
    other = LoadedModel(
        model=AutoModelForSequenceClassification.from_config(config).eval(),
        tokenizer=loaded.tokenizer,
        dialogue_format=loaded.dialogue_format,
        config=config,
        hash="",
    )
    alone = [float(score_dialogues(other, [each])[0]) for each in dialogues()]

    together = Scorer(other).score_dialogues(dialogues())

    assert together == pytest.approx(alone, abs=1e-5)


def test_equal_and_nested_sequences_keep_their_places(directory: Path) -> None:
    scorer = Scorer(load_preference_model(directory))
    sequences = [[5, 6, 7, 4], [5, 6, 7, 4], [5, 6, 7, 4, 9, 4], [8], [5, 6, 8, 4], [8]]

    together = scorer.score_tokens(sequences)

    alone = [scorer.score_tokens([each])[0] for each in sequences]
    assert together == pytest.approx(alone, abs=1e-5)
    assert together[0] == pytest.approx(together[1], abs=1e-6)


def test_an_opening_with_more_branches_than_a_row_holds_is_read_in_parts(
    directory: Path, monkeypatch
) -> None:
    scorer = Scorer(load_preference_model(directory))
    sequences = [[5, 6, 7, 8, 9, 10, 11, branch, 4] for branch in range(12, 30)]
    together = scorer.score_tokens(sequences)
    monkeypatch.setattr(scoring, "ROW_TOKENS", {"cpu": 20})
    rows = scorer.rows(sequences)

    assert max(opening.shared + 2 * len(opening.places) for row in rows for opening in row) <= 20
    assert scorer.score_tokens(sequences) == pytest.approx(together, abs=1e-5)
