"""The mutual information gap: how much more the best latent unit tells of a factor of variation than the second.

Two estimators share the name in the literature and differ in value, so they are two functions here: `mig` (Chen et
al. 2018) integrates over the posteriors, `mig_histogram` (Locatello et al. 2019) counts posterior means in bins.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from evaluation.metrics.codes import require_same_length, require_variation, to_classes, to_finite, to_log_variances

if TYPE_CHECKING:
    from collections.abc import Collection

    from evaluation.metrics.arrays import Float64, Values
    from evaluation.metrics.codes import Classes, Int64

# How the densities are integrated: finer ones move an information by 1e-4 nats at most in the tests' examples.
STEPS_PER_DEVIATION = 4
VARIANCE_RATIO = 1.1
TAIL_DEVIATIONS = 8
FINEST_DEVIATIONS = 2**14


@dataclass(frozen=True, eq=False)
class MutualInformationGap:
    """A mutual information gap and what it is made of; gaps of different estimators do not compare.

    `gap` is the mean of `gaps`, one for each of the columns in `factors`. `information_nats` (K, F) is I(z_j; v_k) for
    each unit and factor, `entropies_nats` (F,) is H(v_k). `examples` is the number of posteriors.
    """

    gap: float
    gaps: tuple[float, ...]
    information_nats: Float64
    entropies_nats: Float64
    factors: tuple[int, ...]
    examples: int
    estimator: str


def mig(
    means: Values, log_variances: Values, factors: Classes, *, excluded: Collection[int] = ()
) -> MutualInformationGap:
    """Return the mutual information gap of diagonal Gaussian posteriors (Chen et al. 2018, section 4.1).

    `means` and `log_variances` are (N, K), `factors` (N, F) integers, best over the whole grid of factors; `excluded`
    names columns of it, as the shape is in published values on dSprites. I(z_j; v_k) = H(z_j) - H(z_j | v_k), where
    z_j is distributed as the mixture of the posteriors of all examples, or of those with one value of v_k.

    Chen et al. estimate each entropy from 10,000 samples. These are entropies of one dimension, so they are
    integrated instead: the same quantity to 1e-4 nats and without sampling noise (up to 0.01 nats). Posteriors
    narrower than 1/16,384 of the range of their unit are taken to be that wide. A single unit has a second of 0.

    Raises:
        ValueError: the shapes differ, a value is not finite, or a factor that is not excluded does not vary.
    """
    centres = to_finite(means, "the posterior means")
    variances = np.exp(to_log_variances(log_variances))
    if centres.shape != variances.shape:
        raise ValueError(f"posterior means {centres.shape} and log variances {variances.shape} must be of one shape")
    table, columns = _varying_factors(factors, excluded, centres)
    groups = [_rows_by_value(column) for column in table.T]
    information = np.zeros((centres.shape[1], len(columns)))
    for unit in range(len(information)):
        posteriors = _on_grid(centres[:, unit], variances[:, unit])
        information[unit] = [_integrated_information(posteriors, rows) for rows in groups]
    return _gap(information, table, columns, "mixture-integral")


def mig_histogram(
    means: Values, factors: Classes, *, bins: int = 20, excluded: Collection[int] = ()
) -> MutualInformationGap:
    """Return the mutual information gap of binned posterior means (Locatello et al. 2019, with 10,000 examples).

    `means` (N, K), `factors` (N, F) integers, of which `excluded` names columns; Locatello et al. exclude none. Each
    unit is cut into `bins` of one width over its own range; the information is that of the counts, which is biased
    upwards by about (values - 1)(bins - 1) / 2N nats: compare at one N.

    Raises:
        ValueError: the lengths differ, a value is not finite, or a factor that is not excluded does not vary.
    """
    if bins < 2:  # noqa: PLR2004 (one bin tells nothing)
        raise ValueError(f"a histogram of {bins} bins tells nothing of a factor; give 2 or more")
    centres = to_finite(means, "the posterior means")
    table, columns = _varying_factors(factors, excluded, centres)
    binned = [np.digitize(unit, np.histogram_bin_edges(unit, bins)[:-1]) for unit in centres.T]
    information = np.array([[_discrete_information(unit, factor) for factor in table.T] for unit in binned])
    return _gap(information, table, columns, f"histogram-{bins}")


def _varying_factors(factors: Classes, excluded: Collection[int], centres: Float64) -> tuple[Int64, tuple[int, ...]]:
    """Return the factors that are not excluded, numbered from 0 in every column, and which columns they were."""
    table = to_classes(factors, "the factors", 2)
    require_same_length("posteriors", centres, "rows of factors", table)
    unknown = sorted(set(excluded) - set(range(table.shape[1])))
    if unknown:
        raise ValueError(f"no factor {unknown[0]} to exclude; the columns are 0 to {table.shape[1] - 1}")
    columns = tuple(column for column in range(table.shape[1]) if column not in excluded)
    if not columns:
        raise ValueError(f"all {table.shape[1]} factors are excluded; leave one or more")
    for column in columns:
        require_variation(table[:, column], f"factor {column} (column, from 0)")
    return np.stack([np.unique(table[:, column], return_inverse=True)[1] for column in columns], axis=1), columns


def _gap(information: Float64, table: Int64, columns: tuple[int, ...], estimator: str) -> MutualInformationGap:
    entropies = np.array([_discrete_entropy(np.bincount(column)) for column in table.T])
    # A unit that tells nothing changes no gap; with it a single unit has a second.
    ordered = np.sort(np.vstack([information, np.zeros((1, len(columns)))]), axis=0)
    gaps = (ordered[-1] - ordered[-2]) / entropies
    return MutualInformationGap(
        gap=float(gaps.mean()),
        gaps=tuple(gaps.tolist()),
        information_nats=information,
        entropies_nats=entropies,
        factors=columns,
        examples=len(table),
        estimator=estimator,
    )


def _discrete_entropy(counts: Int64) -> float:
    shares = counts[counts > 0] / counts.sum()
    return -float(shares @ np.log(shares))


def _discrete_information(unit: Int64, factor: Int64) -> float:
    counts = np.zeros((unit.max() + 1, factor.max() + 1), dtype=np.int64)
    np.add.at(counts, (unit, factor), 1)
    joint = _discrete_entropy(counts.ravel())
    return max(0.0, _discrete_entropy(counts.sum(axis=1)) + _discrete_entropy(counts.sum(axis=0)) - joint)


def _rows_by_value(factor: Int64) -> list[Int64]:
    return np.split(np.argsort(factor, kind="stable"), np.cumsum(np.bincount(factor))[:-1])


@dataclass(frozen=True, eq=False)
class _PosteriorsOnGrid:
    """The posteriors of one unit as weights on a grid of S variances and G means.

    Each posterior N(μ, σ²) becomes four, on the corners around (μ, σ²), of the same mean and variance. A mixture's
    density is then S convolutions with a Gaussian, which the Fourier transform makes products.
    """

    corners: Int64
    """(4, N) cells of the flattened (S, G) grid."""
    weights: Float64
    """(4, N), summing to 1 over the corners."""
    kernels: Float64
    """(S, G/2 + 1) Fourier transforms of the Gaussians."""
    step: float

    def density(self, rows: Int64) -> Float64:
        """Return the density (G,) of the mixture of the posteriors in these rows, at the grid's means."""
        variances, frequencies = self.kernels.shape
        means = 2 * (frequencies - 1)
        placed = sum(
            np.bincount(cells[rows], weights[rows], minlength=variances * means)
            for cells, weights in zip(self.corners, self.weights, strict=True)
        )
        spectrum = (np.fft.rfft(np.reshape(placed, (variances, means))) * self.kernels).sum(axis=0)
        # The transform rounds to either side of 0 where the density is 0.
        density: Float64 = np.fft.irfft(spectrum, means).clip(min=0.0) / (len(rows) * self.step)
        return density

    def entropy(self, density: Float64) -> float:
        """Return -∫ q ln q."""
        positive = density[density > 0]
        return -self.step * float(positive @ np.log(positive))


def _on_grid(means: Float64, variances: Float64) -> _PosteriorsOnGrid:
    deviations = np.sqrt(variances)
    low = (means - TAIL_DEVIATIONS * deviations).min()
    width = (means + TAIL_DEVIATIONS * deviations).max() - low
    narrowest = max(deviations.min(), width / FINEST_DEVIATIONS)
    step = narrowest / STEPS_PER_DEVIATION
    size = 1 << math.ceil(width / step).bit_length()
    position, above = np.divmod((means - low) / step, 1.0)
    # A pair of points around a mean has a variance of its own; what is left is the Gaussian's.
    rest = np.maximum(variances, narrowest**2) - above * (1 - above) * step**2
    smallest, ratio = rest.min(), math.log(VARIANCE_RATIO)
    level = np.floor(np.log(rest / smallest) / ratio)
    levels = smallest * VARIANCE_RATIO ** np.arange(level.max() + 2)
    lower = levels[level.astype(np.int64)]
    wider = (rest - lower) / (lower * (VARIANCE_RATIO - 1))
    cell = (level * size + position).astype(np.int64)
    frequencies = 2 * np.pi * np.fft.rfftfreq(size, step)
    return _PosteriorsOnGrid(
        corners=np.stack([cell, cell + 1, cell + size, cell + size + 1]),
        weights=np.stack(
            [(1 - wider) * (1 - above), (1 - wider) * above, wider * (1 - above), wider * above],
        ),
        kernels=np.exp(-np.multiply.outer(levels, frequencies**2) / 2),
        step=float(step),
    )


def _integrated_information(posteriors: _PosteriorsOnGrid, groups: list[Int64]) -> float:
    total = sum(len(rows) for rows in groups)
    marginal, conditional = np.zeros(()), 0.0
    for rows in groups:
        density = posteriors.density(rows)
        marginal = marginal + density * (len(rows) / total)
        conditional += posteriors.entropy(density) * (len(rows) / total)
    # Not negative but for rounding: the mixture of the densities is no less uncertain than they are.
    return max(0.0, posteriors.entropy(marginal) - conditional)
