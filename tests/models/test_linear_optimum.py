"""The closed form of the linear VAE: against published values, against numerical optimisation, and its laws."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.architectures.linear.optimum import covariance_spectrum, expected_rate_and_distortion, linear_optimum

FIXTURE = [4.0, 2.3, 1.1, 0.55, 0.2, 0.06]
WISHART = [1.811254, 1.747625, 0.702857, 0.517573, 0.027757, 0.000669]
BETAS = [0.1, 1.0, 3.0]

SPECTRA = st.lists(st.floats(1e-3, 10.0), min_size=1, max_size=8)
RANGES = st.tuples(st.floats(1e-3, 1.0), st.floats(1.5, 1e4))


@pytest.mark.parametrize(
    ("eigenvalues", "noise_variance", "units", "distortion", "rate", "active", "tolerance"),
    [
        (
            FIXTURE,
            0.5,
            4,
            [3.894189657548, 5.694189657548, 8.344189657548],
            [6.849802878660, 2.244632692672, 0.704136633919],
            [4, 4, 2],
            1e-11,
        ),
        # These eigenvalues are given to six decimals.
        (
            WISHART,
            0.5,
            4,
            [3.662615792555, 5.462615792555, 7.683046309800],
            [6.062000070429, 1.456829884441, 0.170673196476],
            [4, 4, 2],
            3e-6,
        ),
        (
            WISHART,
            1.0,
            3,
            [5.936630986970, 7.138059525354, 7.917498547801],
            [3.853715087785, 0.576138304584, 0.0],
            [3, 2, 0],
            3e-6,
        ),
    ],
)
def test_the_fixture(eigenvalues, noise_variance, units, distortion, rate, active, tolerance):
    """Nine operating points that were also found by numerical optimisation, elsewhere."""
    optimum = linear_optimum(eigenvalues, BETAS, units, noise_variance)
    np.testing.assert_allclose(optimum.negative_log_likelihood_nats, distortion, rtol=0, atol=tolerance)
    np.testing.assert_allclose(optimum.rate_nats, rate, rtol=0, atol=tolerance)
    assert optimum.active.sum(1).tolist() == active


def test_squared_error_is_the_likelihood_at_variance_one_half_without_its_constant():
    optimum = linear_optimum(FIXTURE, BETAS, 4)
    np.testing.assert_allclose(
        optimum.squared_error, optimum.negative_log_likelihood_nats - 3 * np.log(np.pi), rtol=0, atol=1e-12
    )


def population_loss(parameters, root, beta):
    """Return squared error + β · rate, written from their definitions: x = root u with u standard normal."""
    encoder, decoder, log_variances = parameters
    codes = encoder @ root
    error = (root - decoder @ codes).square().sum() + (decoder.square() * log_variances.exp()).sum()
    rate = 0.5 * (log_variances.exp().sum() + codes.square().sum() - len(log_variances) - log_variances.sum())
    return error + beta * rate, error, rate


@pytest.mark.parametrize("beta", [0.1, 0.9, 2.9])
def test_numerical_optimisation_finds_nothing_better_and_the_same(beta):
    """Free, unconstrained E, D and C, in float64, at β with no, one and all but one unit collapsed."""
    generator = torch.Generator().manual_seed(3)
    basis = torch.linalg.qr(torch.randn(4, 4, generator=generator, dtype=torch.float64))[0]
    spectrum = torch.tensor([2.0, 1.0, 0.4, 0.1], dtype=torch.float64)
    root = basis * spectrum.sqrt()
    shapes = ((3, 4), (4, 3), (3,))
    parameters = [torch.randn(shape, generator=generator, dtype=torch.float64).mul(0.3) for shape in shapes]
    for parameter in parameters:
        parameter.requires_grad_()
    optimiser = torch.optim.LBFGS(
        parameters, max_iter=2000, tolerance_grad=1e-12, tolerance_change=0, line_search_fn="strong_wolfe"
    )

    def closure():
        optimiser.zero_grad()
        loss = population_loss(parameters, root, beta)[0]
        loss.backward()
        return loss

    optimiser.step(closure)
    loss, error, rate = (each.item() for each in population_loss(parameters, root, beta))
    optimum = linear_optimum(spectrum.numpy(), [beta], 3)
    assert loss == pytest.approx((optimum.squared_error + beta * optimum.rate_nats).item(), abs=1e-9)
    assert error == pytest.approx(optimum.squared_error.item(), abs=1e-5)
    assert rate == pytest.approx(optimum.rate_nats.item(), abs=1e-5)
    singular_values = torch.linalg.svdvals(parameters[1].detach())
    np.testing.assert_allclose(singular_values, optimum.decoder[0], rtol=0, atol=1e-3)


@given(eigenvalues=SPECTRA, units=st.integers(1, 9), beta=st.floats(1e-3, 30))
def test_rate_and_distortion_are_those_of_the_optimal_weights(eigenvalues, units, beta):
    """The exact rate and distortion of E, D and C agree with the closed form."""
    optimum = linear_optimum(eigenvalues, [beta], units)
    kept = min(units, len(eigenvalues))
    spectrum = np.sort(eigenvalues)[::-1]
    encoder, decoder = np.zeros((units, len(spectrum))), np.zeros((len(spectrum), units))
    encoder[range(kept), range(kept)] = optimum.encoder[0, :kept]
    decoder[range(kept), range(kept)] = optimum.decoder[0, :kept]
    rate, error = expected_rate_and_distortion(encoder, decoder, optimum.variances[0], np.diag(spectrum))
    assert rate == pytest.approx(optimum.rate_nats.item(), abs=1e-9)
    assert error == pytest.approx(optimum.squared_error.item(), rel=1e-9)


@given(eigenvalues=SPECTRA, ends=RANGES, units=st.integers(1, 8))
def test_the_curve_falls_and_is_convex_with_slope_minus_beta(eigenvalues, ends, units):
    """With β, rate falls and distortion rises; every tangent of slope -β lies below the whole curve."""
    low, ratio = ends
    betas = np.geomspace(low, low * ratio, 25)
    optimum = linear_optimum(eigenvalues, betas, units)
    rates, errors = optimum.rate_nats, optimum.squared_error
    assert (np.diff(rates) <= 0).all()
    assert (np.diff(errors) >= -1e-12).all()
    losses = errors[:, None] + betas * rates[:, None]  # (point, β)
    assert (losses >= np.diag(losses) - 1e-9 * (1 + np.abs(losses))).all()


@given(eigenvalues=SPECTRA, ends=RANGES)
def test_one_more_unit_is_never_worse(eigenvalues, ends):
    betas = np.geomspace(ends[0], ends[0] * ends[1], 9)
    fewer, more = (linear_optimum(eigenvalues, betas, units) for units in (1, 2))
    gain = fewer.squared_error + betas * fewer.rate_nats - more.squared_error - betas * more.rate_nats
    assert (gain >= -1e-12).all()


@given(eigenvalue=st.floats(1e-3, 1e3))
def test_a_unit_collapses_exactly_at_its_threshold(eigenvalue):
    """At β = 2λ all is 0 and 1 to the bit, one float below something is left."""
    threshold = 2 * eigenvalue
    optimum = linear_optimum([eigenvalue], [threshold, np.nextafter(threshold, 0)], 1)
    assert optimum.active.ravel().tolist() == [False, True]
    assert (optimum.encoder[0, 0], optimum.decoder[0, 0], optimum.variances[0, 0]) == (0, 0, 1)
    assert (optimum.rate_nats[0], optimum.squared_error[0]) == (0, eigenvalue)
    assert optimum.rate_nats[1] > 0


def test_directions_without_variance_and_spare_units_stay_collapsed():
    optimum = linear_optimum([1.0, 0.0], [1e-9], 5)
    assert optimum.active.tolist() == [[True, False, False, False, False]]
    assert optimum.encoder[0, 1:].tolist() == [0, 0, 0, 0]
    assert optimum.variances[0, 1:].tolist() == [1, 1, 1, 1]


def test_all_betas_at_once_are_each_beta_alone():
    betas = np.geomspace(0.01, 10, 7)
    together = linear_optimum(FIXTURE, betas, 4)
    alone = [linear_optimum(FIXTURE, [beta], 4) for beta in betas]
    for name in ("encoder", "decoder", "variances", "rate_nats", "squared_error"):
        np.testing.assert_array_equal(getattr(together, name), np.concatenate([getattr(one, name) for one in alone]))


def test_the_spectrum_of_examples_is_that_of_their_covariance():
    """Falling, of flattened examples, about their own mean."""
    examples = np.random.default_rng(0).standard_normal((50, 2, 3)) * [1.0, 2.0, 3.0] + 7
    values, vectors = covariance_spectrum(examples)
    flat = examples.reshape(50, 6)
    covariance = (flat - flat.mean(0)).T @ (flat - flat.mean(0)) / 50
    assert (np.diff(values) <= 0).all()
    np.testing.assert_allclose(vectors * values @ vectors.T, covariance, atol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([], [1.0], 1), "eigenvalues"),
        (([1.0, -0.1], [1.0], 1), "eigenvalues"),
        (([1.0, np.nan], [1.0], 1), "eigenvalues"),
        (([1.0], [0.0], 1), "β must be finite and above 0"),
        (([1.0], [np.inf], 1), "β must be finite and above 0"),
        (([1.0], [1.0], 0), "latent_units is 0"),
        (([1.0], [1.0], 1, -1.0), "noise variance"),
    ],
)
def test_what_has_no_optimum_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        linear_optimum(*arguments)


def test_the_oracle_does_not_import_torch():
    program = "import sys, models.architectures.linear.optimum; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)
