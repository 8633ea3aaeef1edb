"""Distances from a fitted Gaussian by hand, under rotations and scales, and on Gaussians that are known."""

import pytest
import torch
from torch import Tensor

from training.core.evaluation.auroc import auroc
from training.core.evaluation.mahalanobis import best_shrinkage, fit, moments


def correlated(rows: int, *, seed: int, width: int = 6) -> Tensor:
    """Rows whose coordinates go together, of very different widths."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(
        width, width, generator=torch.Generator().manual_seed(99), dtype=torch.float64
    )
    widths = torch.logspace(-2, 2, width, dtype=torch.float64)
    drawn = torch.randn(rows, width, generator=generator, dtype=torch.float64)
    return drawn @ mixing * widths + 3.0


def test_distances_by_hand():
    # mean (0, 0); S = [[8/3, 4/3], [4/3, 8/3]]: variances 8/3, correlation 1/2
    rows = torch.tensor([[2.0, 2.0], [-2.0, -2.0], [0.0, 0.0], [0.0, 0.0]]) + torch.tensor(
        [[0.0, 0.0], [0.0, 0.0], [1.0, -1.0], [-1.0, 1.0]]
    )
    deviation2 = (4 + 4 + 1 + 1) / 3
    correlation = (4 + 4 - 1 - 1) / 10
    point = torch.tensor([[1.0, 1.0], [1.0, -1.0]])

    gaussian = fit(rows, shrinkage=0.0)

    # (1, 1) is an eigenvector of S with (1 + ρ)σ², (1, −1) one with (1 − ρ)σ²
    expected = [2 / (deviation2 * (1 + correlation)), 2 / (deviation2 * (1 - correlation))]
    assert gaussian.mahalanobis(point).tolist() == pytest.approx(expected)
    on_the_diagonal = 2 / deviation2
    relative = gaussian.relative_mahalanobis(point).tolist()
    assert relative == pytest.approx([each - on_the_diagonal for each in expected])


def test_plain_distances_do_not_change_under_rotation_relative_ones_do():
    rows, tests = correlated(200, seed=0), correlated(30, seed=1)
    seeded = torch.Generator().manual_seed(2)
    rotation, _ = torch.linalg.qr(torch.randn(6, 6, generator=seeded, dtype=torch.float64))

    here = fit(rows, shrinkage=0.0)
    turned = fit(rows @ rotation, shrinkage=0.0)

    torch.testing.assert_close(turned.mahalanobis(tests @ rotation), here.mahalanobis(tests))
    relative = turned.relative_mahalanobis(tests @ rotation)
    assert not torch.allclose(relative, here.relative_mahalanobis(tests))


def test_neither_distance_changes_with_the_units_of_a_coordinate():
    rows, tests = correlated(40, seed=0), correlated(30, seed=1)
    units = torch.tensor([1e-3, 1.0, 7.0, 1e4, 0.5, 2.0], dtype=torch.float64)

    here, scaled = fit(rows), fit(rows * units)

    assert scaled.shrinkage == pytest.approx(here.shrinkage)
    for name in ("mahalanobis", "relative_mahalanobis"):
        expected = getattr(here, name)(tests)
        torch.testing.assert_close(getattr(scaled, name)(tests * units), expected)


def test_distances_equal_the_formula_with_the_inverse_written_out():
    rows, tests = correlated(50, seed=0), correlated(5, seed=1)

    gaussian = fit(rows, shrinkage=0.25)

    covariance = torch.cov(rows.T)
    diagonal = torch.diag(covariance.diagonal())
    shrunken = 0.75 * covariance + 0.25 * diagonal
    for row, plain, relative in zip(
        tests, gaussian.mahalanobis(tests), gaussian.relative_mahalanobis(tests), strict=True
    ):
        away = row - rows.mean(0)
        expected = away @ torch.linalg.inv(shrunken) @ away
        alone = away @ torch.linalg.inv(diagonal) @ away
        assert float(plain) == pytest.approx(float(expected))
        assert float(relative) == pytest.approx(float(expected - alone))


def test_whole_shrinkage_leaves_nothing_relative():
    rows, tests = correlated(50, seed=0), correlated(5, seed=1)

    assert fit(rows, shrinkage=1.0).relative_mahalanobis(tests).abs().max() < 1e-9


def test_shrinkage_equals_a_loop_over_pairs():
    rows = correlated(12, seed=3)
    mean, deviation = moments(rows)
    z = (rows - mean) / deviation
    n, width = z.shape
    noise = square = 0.0
    for i in range(width):
        for j in range(width):
            if i != j:
                w = z[:, i] * z[:, j]
                noise += n / (n - 1) ** 3 * float((w - w.mean()).square().sum())
                square += (n / (n - 1) * float(w.mean())) ** 2

    assert best_shrinkage(z) == pytest.approx(noise / square)


def test_shrinkage_falls_with_the_rows_and_is_whole_where_nothing_goes_together():
    seeded = torch.Generator().manual_seed(0)
    alone = torch.randn(30, 40, generator=seeded, dtype=torch.float64)

    few, many = (fit(correlated(rows, seed=0)).shrinkage for rows in (8, 5000))

    assert many < 0.01 < few
    assert fit(alone).shrinkage > 0.9


def test_fewer_rows_than_coordinates_and_coordinates_that_never_vary_still_give_distances():
    rows = torch.cat([correlated(20, seed=0, width=60), torch.full((20, 1), 4.0)], dim=1)

    gaussian = fit(rows)

    tests = torch.cat([correlated(9, seed=1, width=60), torch.full((9, 1), 8.0)], dim=1)
    assert 0 < gaussian.shrinkage < 1
    assert gaussian.mahalanobis(tests).isfinite().all()
    assert gaussian.mahalanobis(rows).mean() < gaussian.mahalanobis(rows + 50.0).mean()


def test_rows_that_break_the_correlations_are_found_by_the_relative_distance():
    """Outliers as wide as the rest in every coordinate: the diagonal alone cannot see them."""
    seeded = torch.Generator().manual_seed(0)

    def pairs(rows: int, *, correlation: float) -> Tensor:
        one, other = torch.randn(2, rows, 4, generator=seeded, dtype=torch.float64)
        return torch.cat([one, correlation * one + (1 - correlation**2) ** 0.5 * other], dim=1)

    gaussian = fit(pairs(2000, correlation=0.9))
    inside, outside = pairs(500, correlation=0.9), pairs(500, correlation=-0.9)

    def area(score) -> float:
        return auroc(outside=score(outside).tolist(), inside=score(inside).tolist())

    alone = area(lambda rows: gaussian.standardised(rows).square().sum(1))
    assert abs(alone - 0.5) < 0.05
    assert area(gaussian.mahalanobis) > 0.85
    assert area(gaussian.relative_mahalanobis) > area(gaussian.mahalanobis)
