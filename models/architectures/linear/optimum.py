"""The linear VAE's optimum in closed form at any β, and the exact rate and distortion of any linear VAE.

NumPy in float64. p(x|z) = N(D z + μ, σ² I), q(z|x) = N(E (x - μ), C), C diagonal and the same for every x, prior
N(0, I). With S the covariance of the data and t = βσ², the best q for a given D is that of probabilistic PCA with
noise t, so the best D is too (Tipping and Bishop 1999; Lucas et al. 2019): reverse water-filling at level t over
the leading eigenvalues of S. The project's squared error is σ² = 1/2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    Array = NDArray[np.float64]

SQUARED_ERROR_VARIANCE = 0.5
"""The σ² at which a Gaussian's negative log-likelihood is the summed squared error plus a constant."""
NEGATIVE_ROUNDING = 1e-9
"""Computed eigenvalues of a covariance may be below 0 by this fraction of the largest one."""


@dataclass(frozen=True)
class LinearOptimum:
    """The optimal linear VAE at each of B values of β, with K latent units, in the eigenbasis U of the covariance.

    E = diag(encoder[b]) U_Kᵀ, D = U_K diag(decoder[b]) and C = diag(variances[b]), up to the order and the signs of
    the latent units; each (B, K), by falling eigenvalue. A collapsed unit has encoder 0, decoder 0 and variance 1,
    exactly. `rate_nats` (B,) and `squared_error` (B,) are means per example of the data.
    """

    betas: Array
    noise_variance: float
    dimensions: int
    encoder: Array
    decoder: Array
    variances: Array
    rate_nats: Array
    squared_error: Array

    @property
    def active(self) -> NDArray[np.bool_]:
        """Which units carry information (B, K): those with λ > βσ²."""
        return self.decoder > 0

    @property
    def negative_log_likelihood_nats(self) -> Array:
        """The distortion (B,) as -log N(x; Dz + μ, σ² I) in nats, with its constant."""
        constant = self.dimensions / 2 * np.log(2 * np.pi * self.noise_variance)
        return np.asarray(constant + self.squared_error / (2 * self.noise_variance))


def linear_optimum(
    eigenvalues: ArrayLike, betas: ArrayLike, latent_units: int, noise_variance: float = SQUARED_ERROR_VARIANCE
) -> LinearOptimum:
    """Return the optimum for data whose covariance has these eigenvalues (D,), at every β (B,).

    Minimises -log p(x|z) + β · rate over E, D and C, for σ² = `noise_variance`; where that is 1/2, the same β
    minimises squared error + β · rate. Units beyond the number of eigenvalues stay collapsed.

    Raises:
        ValueError: an eigenvalue is negative or not finite, or β, σ² or the number of units is not positive.
    """
    spectrum, weights = _checked_spectrum(eigenvalues), _positive("β", betas)
    _positive("the noise variance", [noise_variance])
    if latent_units < 1:
        raise ValueError(f"latent_units is {latent_units}; it must be 1 or more")
    kept = np.zeros(latent_units)
    kept[: len(spectrum)] = spectrum[:latent_units]
    level = (weights * noise_variance)[:, None]
    above = np.maximum(kept - level, 0)  # 0 exactly at the threshold: neighbouring floats subtract without rounding
    decoder = np.sqrt(above)
    return LinearOptimum(
        betas=weights,
        noise_variance=noise_variance,
        dimensions=len(spectrum),
        encoder=np.divide(decoder, kept, out=np.zeros_like(decoder), where=above > 0),
        decoder=decoder,
        variances=np.divide(level, kept, out=np.ones_like(decoder), where=above > 0),
        rate_nats=0.5 * np.log1p(above / level).sum(1),
        squared_error=np.minimum(kept, level).sum(1) + spectrum[latent_units:].sum(),
    )


def expected_rate_and_distortion(
    encoder: Array, decoder: Array, variances: Array, covariance: Array
) -> tuple[float, float]:
    """Return the mean rate in nats and the mean squared error of a linear VAE whose μ is the data's mean.

    encoder (K, D), decoder (D, K), the diagonal of C (K,) and the data's covariance (D, D); nothing is sampled.
    """
    left_over = np.eye(len(covariance)) - decoder @ encoder
    error = np.trace(left_over @ covariance @ left_over.T) + (decoder**2 @ variances).sum()
    squares = variances.sum() + np.trace(encoder @ covariance @ encoder.T)
    return float(0.5 * (squares - len(variances) - np.log(variances).sum())), float(error)


def covariance_spectrum(examples: Array | Sequence[Array]) -> tuple[Array, Array]:
    """Return the covariance's eigenvalues (D,), falling, and its eigenvectors (D, D), one per column.

    `examples` (N, ...) are flattened; the covariance is that of the set itself (divided by N).
    """
    flat = np.asarray(examples, dtype=np.float64).reshape(len(examples), -1)
    values, vectors = np.linalg.eigh(np.cov(flat, rowvar=False, bias=True).reshape(flat.shape[1], -1))
    return np.maximum(values[::-1], 0), vectors[:, ::-1]


def _checked_spectrum(eigenvalues: ArrayLike) -> Array:
    spectrum = np.sort(np.asarray(eigenvalues, dtype=np.float64).ravel())[::-1]
    if not len(spectrum) or not np.isfinite(spectrum).all() or spectrum[-1] < -NEGATIVE_ROUNDING * spectrum[0]:
        raise ValueError("the eigenvalues of a covariance must be finite and 0 or more, and at least one")
    return np.maximum(spectrum, 0)


def _positive(name: str, values: ArrayLike) -> Array:
    array = np.asarray(values, dtype=np.float64).ravel()
    if not np.isfinite(array).all() or not (array > 0).all():
        raise ValueError(f"{name} must be finite and above 0, not {array}")
    return array
