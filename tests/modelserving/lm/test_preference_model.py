"""Scores of dialogues: order, sharing and centring change nothing they should not."""

from pathlib import Path

import pytest
import torch

from modelserving.lm import preference_model
from modelserving.lm.loading import LoadedModel, load_language_model, load_preference_model
from modelserving.lm.preference_model import from_language_model, score_dialogues
from tests.tiny_checkpoints import make_tiny_language_model, make_tiny_preference_model


def dialogue(*texts: str) -> list[dict[str, str]]:
    roles = ("user", "assistant")
    return [{"role": roles[i % 2], "content": text} for i, text in enumerate(texts)]


DIALOGUES = [
    dialogue("Hello", "How are you?"),
    dialogue("Tell me a story", "Once upon a time"),
    dialogue("Hello", "I am well"),
    dialogue("Hello", "How are you?", "I am well", "thank you"),
]


@pytest.fixture(scope="module")
def ranker(tmp_path_factory) -> LoadedModel:
    directory = tmp_path_factory.mktemp("models") / "pm"
    make_tiny_preference_model(directory)
    return load_preference_model(directory)


def test_scores_are_the_same_alone_and_together_and_centred(ranker: LoadedModel):
    together = score_dialogues(ranker, DIALOGUES)
    alone = torch.cat([score_dialogues(ranker, [each]) for each in DIALOGUES])

    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
    ids = ranker.tokenizer.encode("How are you?")
    tokenizer = ranker.tokenizer
    sequence = [
        tokenizer.token_id("<|human|>"),
        *tokenizer.encode("Hello"),
        tokenizer.token_id("<|assistant|>"),
        *ids,
        tokenizer.token_id("<|endoftext|>"),
        tokenizer.token_id("<|score|>"),
    ]
    ranker.model.set_attn_implementation("eager")
    with torch.no_grad():
        raw = ranker.model(torch.tensor([sequence])).logits[0, 0]
    torch.testing.assert_close(together[0], raw - 0.25, rtol=1e-4, atol=1e-5)


def test_rows_of_bounded_length_give_the_same_scores(
    ranker: LoadedModel, monkeypatch: pytest.MonkeyPatch
):
    whole = score_dialogues(ranker, DIALOGUES)
    monkeypatch.setitem(preference_model.ROW_TOKENS, "cpu", 30)

    torch.testing.assert_close(score_dialogues(ranker, DIALOGUES), whole, rtol=1e-4, atol=1e-5)


def test_a_fresh_head_depends_on_its_seed_alone(tmp_path: Path):
    make_tiny_language_model(tmp_path / "lm")
    language_model = load_language_model(tmp_path / "lm").model

    first, again, other = (from_language_model(language_model, seed=seed) for seed in (1, 1, 2))

    assert torch.equal(first.score.weight, again.score.weight)
    assert not torch.equal(first.score.weight, other.score.weight)
    assert first.num_labels == 1
    weights = language_model.base_model.state_dict()
    for name, weight in first.base_model.state_dict().items():
        assert torch.equal(weight, weights[name])
