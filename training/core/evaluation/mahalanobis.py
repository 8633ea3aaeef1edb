"""How far activations lie from a Gaussian that was fitted to usual ones (Bai et al. 2022, §5.4 and B.9).

It does not know models or prompts: tables of numbers in, a score per row out.

Legend: N rows to fit on, E coordinates, M rows to score. S is the covariance of the fitted rows, μ their mean.
Everything is computed in coordinates divided by their own standard deviation, where S is the matrix of correlations
and diag(S) is 1: transformers have coordinates a hundred times as wide as the rest, which would drown the rest in
rounding, and in the choice of the shrinkage.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

LEAST_SHRINKAGE = 1e-4  # keeps S invertible where coordinates depend on each other exactly


@dataclass(frozen=True, kw_only=True)
class Gaussian:
    """Mean and shrunken covariance of the rows that were fitted."""

    mean: Tensor  # (E,)
    deviation: Tensor  # (E,) infinite where a coordinate never varied: it says nothing
    factor: Tensor  # (E, E) lower Cholesky factor of the shrunken correlations
    shrinkage: float  # 0: the sample's covariance, 1: its diagonal

    def standardised(self, rows: Tensor) -> Tensor:
        """Rows less the mean, in standard deviations: (M, E) float64."""
        return (rows.double() - self.mean) / self.deviation

    def mahalanobis(self, rows: Tensor) -> Tensor:
        """m(x) = (x − μ)ᵀ S⁻¹ (x − μ): (M,)."""
        z = self.standardised(rows)  # (M, E)
        whitened = torch.linalg.solve_triangular(self.factor, z.T, upper=False)  # (E, M)
        return whitened.square().sum(0)

    def relative_mahalanobis(self, rows: Tensor) -> Tensor:
        """m with the whole of S less m with its diagonal alone: (M,).

        What is far in every direction alike falls away; what is far from how coordinates go together stays.
        """
        return self.mahalanobis(rows) - self.standardised(rows).square().sum(1)


def fit(rows: Tensor, *, shrinkage: float | None = None) -> Gaussian:
    """Fit to rows (N, E), N at least 3; by default with the shrinkage that these rows call for."""
    rows = rows.double()
    mean, deviation = moments(rows)
    z = (rows - mean) / deviation
    if shrinkage is None:
        shrinkage = best_shrinkage(z)
    return Gaussian(
        mean=mean,
        deviation=deviation,
        factor=torch.linalg.cholesky(shrunken(z, shrinkage=shrinkage)),
        shrinkage=shrinkage,
    )


def moments(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each coordinate, the latter infinite where nothing varies: (E,) twice."""
    deviation = rows.std(0)
    deviation[rows.amax(0) == rows.amin(0)] = torch.inf
    return rows.mean(0), deviation


def shrunken(z: Tensor, *, shrinkage: float) -> Tensor:
    """Correlations of standardised rows (N, E), drawn towards 0 off the diagonal: (E, E)."""
    (N, _) = z.shape
    correlations = (1 - shrinkage) * (z.T @ z) / (N - 1)
    return correlations.fill_diagonal_(1.0)


def best_shrinkage(z: Tensor) -> float:
    """The weight of the diagonal that makes the expected squared error of the correlations least.

    Ledoit and Wolf (2004), for the diagonal as target by Schäfer and Strimmer (2005): Σ Var(rᵢⱼ) / Σ rᵢⱼ² over i ≠ j,
    both from the same standardised rows (N, E). With few rows for many coordinates the sample's covariance is noise,
    and not even invertible with fewer; its diagonal is far better known.
    """
    N, _ = z.shape
    products = z.T @ z / N  # (E, E) means over rows of zᵢ zⱼ
    spread = z.square().T @ z.square() - N * products.square()  # Σ over rows (zᵢ zⱼ − their mean)²
    variances = spread * N / (N - 1) ** 3
    squares = (products * N / (N - 1)).square()
    off_diagonal = float(squares.sum() - squares.diagonal().sum())
    if off_diagonal == 0:
        return 1.0
    noise = float(variances.sum() - variances.diagonal().sum())
    return min(1.0, max(LEAST_SHRINKAGE, noise / off_diagonal))
