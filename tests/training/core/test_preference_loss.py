"""The pairwise loss against hand arithmetic, its invariants and a naive loop."""

import math

import pytest
import torch

from training.core.preference_loss import pairwise_loss, strength_margins, strength_soft_labels


def test_pairwise_loss_of_one_pair_by_hand():
    result = pairwise_loss(chosen=torch.tensor([2.0]), rejected=torch.tensor([1.0]))

    assert float(result.loss_sum) == pytest.approx(math.log(1 + math.exp(-1)), rel=1e-6)
    assert result.correct.tolist() == [1.0]
    assert result.margin.tolist() == [1.0]


def test_pairwise_loss_does_not_change_when_both_scores_move_together():
    chosen, rejected = torch.tensor([0.3, -1.0]), torch.tensor([0.1, 2.0])

    near = pairwise_loss(chosen=chosen, rejected=rejected).loss_sum
    far = pairwise_loss(chosen=chosen + 5, rejected=rejected + 5).loss_sum

    torch.testing.assert_close(near, far)


def test_pairwise_loss_equals_a_loop_with_weights_margins_and_soft_labels():
    torch.manual_seed(0)
    chosen, rejected, weights, margins, labels = (torch.rand(5) for _ in range(5))

    ours = pairwise_loss(
        chosen=chosen, rejected=rejected, weights=weights, margins=margins, soft_labels=labels
    )

    expected = 0.0
    for c, r, w, m, y in zip(chosen, rejected, weights, margins, labels, strict=True):
        right = 1 / (1 + math.exp(-(c - r - m)))
        expected += float(w) * (-float(y) * math.log(right) - (1 - float(y)) * math.log(1 - right))
    assert float(ours.loss_sum) == pytest.approx(expected, rel=1e-5)


def test_a_tie_counts_half():
    result = pairwise_loss(chosen=torch.zeros(1), rejected=torch.zeros(1))

    assert result.correct.tolist() == [0.5]


def test_unknown_strength_has_no_margin_and_a_hard_label():
    strengths = [None, 1, 4]

    assert strength_margins(strengths, per_step=0.5).tolist() == [0.0, 0.0, 1.5]
    assert strength_soft_labels(strengths, weakest=0.5).tolist() == [1.0, 0.5, 1.0]
