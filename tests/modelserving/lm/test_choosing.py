"""One token per row: as often as its probability says, within top_p, the likeliest at temperature 0."""

import pytest
import torch

from modelserving.lm.choosing import choose


def test_choose_draws_each_token_as_often_as_its_probability_says() -> None:
    probabilities = torch.tensor([0.5, 0.3, 0.15, 0.05])
    rows = 20_000
    uniforms = torch.arange(rows, dtype=torch.float64) / rows

    chosen = choose(
        logits=probabilities.log().expand(rows, -1), temperature=torch.ones(rows),
        top_p=torch.ones(rows), uniforms=uniforms, plain=True,
    )  # fmt: skip

    shares = torch.bincount(chosen.tokens, minlength=4) / rows
    assert torch.allclose(shares, probabilities, atol=2e-4)


def test_choose_keeps_to_the_likeliest_tokens_and_to_the_likeliest_at_zero() -> None:
    logits = torch.tensor([0.05, 0.5, 0.15, 0.3]).log().expand(1000, -1)
    uniforms = torch.arange(1000, dtype=torch.float64) / 1000

    cut = choose(
        logits=logits, temperature=torch.ones(1000), top_p=torch.full((1000,), 0.7),
        uniforms=uniforms, plain=False,
    )  # fmt: skip
    greedy = choose(
        logits=logits, temperature=torch.zeros(1000), top_p=torch.ones(1000), uniforms=uniforms,
        plain=False,
    )  # fmt: skip

    assert set(cut.tokens.tolist()) == {1, 3}
    assert abs(int((cut.tokens == 1).sum()) - 625) <= 1  # 0.5 / 0.8
    assert set(greedy.tokens.tolist()) == {1}
    assert greedy.token_logprobs[0].exp().item() == pytest.approx(0.5)
