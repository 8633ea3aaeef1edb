"""The classifier against copies that are really made, and what exposure says on Gaussians that are known."""

import pytest
import torch
import torch.nn.functional as F

from training.core.evaluation.outlier_exposure import (
    DRAWS,
    RIDGE,
    Exposed,
    classifier,
    exposure,
    numbers_of_outliers,
)


def rows(count: int, *, seed: int, shift: float = 0.0, width: int = 8) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(count, width, generator=generator, dtype=torch.float64)
    drawn[:, 0] += shift
    return drawn


def exposed(*, usual: int = 200, outliers: int = 60, shift: float = 3.0) -> Exposed:
    return Exposed(
        usual=rows(usual, seed=0),
        outliers=rows(outliers, seed=1, shift=shift),
        test_usual=rows(150, seed=2),
        test_outliers=rows(120, seed=3, shift=shift),
    )


def test_numbers_of_outliers_are_as_many_as_there_are():
    assert numbers_of_outliers(1) == [1]
    assert numbers_of_outliers(99) == [1, 2, 5, 10, 20, 50]
    assert numbers_of_outliers(100) == [1, 2, 5, 10, 20, 50, 100]


def test_a_weight_counts_as_copies_do():
    usual, outliers = rows(30, seed=0), rows(4, seed=1, shift=2.0)

    weighted = classifier(usual=usual, outliers=outliers, copies=7)
    copied = classifier(usual=usual, outliers=outliers.repeat(7, 1), copies=1)

    torch.testing.assert_close(weighted, copied, rtol=1e-5, atol=1e-6)


def test_one_coordinate_by_hand():
    # usual at −1, outliers at +1, as many: by symmetry no bias, and w solves RIDGE·w = σ(−w)
    found = classifier(
        usual=-torch.ones(5, 1).double(), outliers=torch.ones(5, 1).double(), copies=1
    )

    assert RIDGE * float(found) == pytest.approx(float(torch.sigmoid(-found)), rel=1e-5)


def test_the_classifier_stands_at_a_minimum():
    usual, outliers = rows(40, seed=0), rows(10, seed=1, shift=1.0)
    weights = classifier(usual=usual, outliers=outliers, copies=4)

    def best_loss(at: torch.Tensor) -> float:
        every = torch.cat([usual, outliers.repeat(4, 1)])
        labels = torch.cat([torch.zeros(40), torch.ones(40)]).double()
        biases = torch.linspace(-4, 4, 4001, dtype=torch.float64)
        logits = every @ at
        losses = [F.binary_cross_entropy_with_logits(logits + bias, labels) for bias in biases]
        return float(torch.stack(losses).min() + RIDGE / 2 * at.square().sum())

    here = best_loss(weights)
    for coordinate in range(8):
        step = torch.zeros(8, dtype=torch.float64)
        step[coordinate] = 0.05
        assert best_loss(weights + step) > here
        assert best_loss(weights - step) > here


def test_more_outliers_tell_more_and_the_same_seed_says_the_same():
    found = exposure(exposed(), seed=0)

    assert [each["outliers"] for each in found] == [1, 2, 5, 10, 20, 50]
    assert [each["copies"] for each in found] == [200, 100, 40, 20, 10, 4]
    areas = [each["auroc"]["value"] for each in found]
    assert areas[0] > 0.6
    assert areas[-1] > areas[0]
    assert areas[-1] > 0.97  # Φ(3/√2) = 0.983 is the most there is
    for each in found:
        auroc = each["auroc"]
        assert auroc["low"] <= auroc["value"] <= auroc["high"]
        assert auroc["n"] == DRAWS
    assert exposure(exposed(), seed=0) == found
    assert exposure(exposed(), seed=1) != found


def test_outliers_like_the_rest_cannot_be_told():
    found = exposure(exposed(shift=0.0), seed=0)

    assert all(abs(each["auroc"]["value"] - 0.5) < 0.12 for each in found)


def test_no_more_outliers_are_taken_than_there_are_usual_rows():
    found = exposure(exposed(usual=12, outliers=60), seed=0)

    assert [(each["outliers"], each["copies"]) for each in found] == [
        (1, 12),
        (2, 6),
        (5, 2),
        (10, 1),
    ]
