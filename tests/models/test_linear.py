"""The linear VAE: the contract, and gates that equal the closed form."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from models.architecture import Gating
from models.architectures.linear.linear import Linear
from models.architectures.linear.optimum import linear_optimum
from models.architectures.registry import configure
from models.gates import standardise_log_beta

if TYPE_CHECKING:
    from models.architectures.linear.network import LinearVAE

SPECTRUM = np.array([4.0, 2.3, 1.1, 0.55, 0.2, 0.06])
SHAPE, UNITS = (1, 2, 3), 4
LOW, HIGH = 0.01, 10.0
SHUT = -50.0
"""The argument at which √(1 - exp(a)) is 1 in float64."""


def vae(gating: Gating | None = None, *, exact: bool = False) -> LinearVAE:
    """Return a small network in double precision; always the same."""
    torch.manual_seed(0)
    return Linear(UNITS, exact_gates=exact).build(SHAPE, "squared-error", gating).double()


def conditions(betas) -> torch.Tensor:
    return standardise_log_beta(torch.as_tensor(betas, dtype=torch.float64).view(-1, 1), LOW, HIGH)


def batch(examples=7):
    """Return x, condition and noise."""
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(examples, *SHAPE, generator=generator, dtype=torch.float64)
    return (
        x,
        conditions(np.geomspace(LOW, HIGH, examples)),
        [torch.randn(examples, UNITS, generator=generator).double()],
    )


def scatter(model: LinearVAE) -> None:
    """Move every parameter off its start, so that nothing is an identity or a constant; gates stay open in places."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.5 * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype))


@pytest.mark.parametrize(("multi_rate", "count"), [(False, 665_920), (True, 665_920 + 3_392)])
def test_parameters_of_equation_10_and_the_mean(multi_rate, count):
    """The published counts at 784 pixels and 32 units, and one more number a pixel for μ."""
    model = Linear(32).build((1, 28, 28), "squared-error", Gating() if multi_rate else None)
    assert sum(parameter.numel() for parameter in model.parameters()) == count + 784
    assert Linear(32).parameters((1, 28, 28), multi_rate=multi_rate) == count + 784


def test_multiply_adds_are_those_of_the_four_matrices():
    assert Linear(32).multiply_adds((1, 28, 28)) == 784**2 + 32 * 784 + 32**2 + 784 * 32


@pytest.mark.parametrize("gating", [None, Gating(), Gating(decoder="sigmoid")])
@pytest.mark.parametrize("exact", [False, True])
def test_evidence_is_that_of_equation_10(gating, exact):
    """Mean E(x - μ), variance C, error of D z + μ in squared error: with the matrices of each example's own β."""
    model = vae(gating, exact=exact)
    scatter(model)
    x, condition, noise = batch()
    condition = condition if gating else None
    output = model(x, condition, noise)
    flat, mu = x.flatten(1), model.mean.detach()
    assert output.reconstruction.shape == x.shape
    assert output.rates.shape == (7, 1)
    assert (model.distortion_unit, model.latent_shapes) == ("sse", ((UNITS,),))
    for example in range(7):
        own = None if condition is None else condition[example : example + 1]
        maps = model.maps(own)
        mean = maps.encoder @ (flat[example] - mu)
        latent = mean + maps.variances.sqrt() * noise[0][example]
        reconstruction = maps.decoder @ latent + mu
        torch.testing.assert_close(output.posteriors[0].mean[example], mean)
        torch.testing.assert_close(output.reconstruction[example].flatten(), reconstruction)
        torch.testing.assert_close(output.distortion[example], (reconstruction - flat[example]).square().sum())
        rate = torch.distributions.kl_divergence(
            torch.distributions.Normal(mean, maps.variances.sqrt()), torch.distributions.Normal(0.0, 1.0)
        ).sum()
        torch.testing.assert_close(output.rates[example, 0], rate)
        generated = model.generate([noise[0][example : example + 1]], own)
        torch.testing.assert_close(generated.flatten(), maps.decoder @ noise[0][example] + mu)


@pytest.mark.parametrize("gating", [None, Gating(), Gating(decoder="sigmoid")])
@pytest.mark.parametrize("exact", [False, True])
def test_training_reaches_every_parameter_from_the_start(gating, exact):
    """No gate is shut and nothing is out of reach at initialisation."""
    model = vae(gating, exact=exact)
    x, condition, noise = batch()
    output = model(x, condition if gating else None, noise)
    (output.distortion + output.rates[:, 0]).mean().backward()
    for name, parameter in model.named_parameters():
        assert torch.isfinite(parameter.grad).all(), name
        assert (parameter.grad != 0).all(dim=-1).all(), name


def test_a_plain_network_starts_as_an_orthogonal_projection():
    """What it encodes it decodes: every unit carries something."""
    maps = vae().maps(None)
    torch.testing.assert_close(maps.encoder @ maps.decoder, torch.eye(UNITS, dtype=torch.float64))
    torch.testing.assert_close(maps.decoder, maps.encoder.T)


def test_more_units_than_values_can_be_built():
    model = Linear(9).build((1, 2, 2), "squared-error", Gating())
    output = model(torch.rand(3, 1, 2, 2), torch.zeros(3, 1), [torch.randn(3, 9)])
    assert torch.isfinite(output.rates).all()


@pytest.mark.parametrize("gating", [None, Gating()])
def test_a_condition_that_does_not_fit_is_refused(gating):
    x, condition, noise = batch()
    wrong = None if gating else condition
    for attempt in (lambda m: m(x, wrong, noise), lambda m: m.generate(noise, wrong), lambda m: m.maps(wrong)):
        with pytest.raises(ValueError, match="condition"):
            attempt(vae(gating))


def test_another_likelihood_is_refused():
    with pytest.raises(ValueError, match="likelihood must be 'squared-error', not 'bernoulli'"):
        configure("linear").build(SHAPE, "bernoulli", None)


@pytest.mark.parametrize("shape", [(), (1, 0, 3)])
def test_an_empty_shape_is_refused(shape):
    with pytest.raises(ValueError, match="any non-empty shape"):
        Linear().check_shape(shape)


def set_closed_form(model: LinearVAE, basis: np.ndarray) -> None:
    """Write the response function of the closed form into a network with exact gates, by hand.

    Unit j has the gate g² = ReLU(1 - exp(log β - log(2 λ_j))), D = √λ g, E = g / √λ and C = 1 - g².
    """
    half_width = (math.log(HIGH) - math.log(LOW)) / 2
    middle = (math.log(HIGH) + math.log(LOW)) / 2
    slope = torch.full((UNITS,), half_width / math.sqrt(3), dtype=torch.float64)
    roots = torch.from_numpy(np.sqrt(SPECTRUM[:UNITS]))
    shift = middle - torch.log(2 * roots**2)
    directions = torch.from_numpy(basis[:, :UNITS].copy())
    layers, decoder = model.encoder.layers, model.decoder
    layers.first.weight.copy_(torch.eye(len(SPECTRUM)))
    layers.second.weight.copy_((directions / roots).T)
    decoder.first.weight.copy_(torch.eye(UNITS))
    decoder.second.weight.copy_(directions * roots)
    for gate in (layers.second.gate, decoder.first.gate, model.encoder.first_variance.gate):
        gate.weight.copy_(slope)
        gate.bias.copy_(shift)
    for gate in (layers.first.gate, decoder.second.gate):
        gate.weight.fill_(0.0)
        gate.bias.fill_(SHUT)
    model.encoder.second_variance.gate.weight.fill_(0.0)
    model.encoder.second_variance.gate.bias.fill_(0.0)
    for factor in (model.encoder.first_variance, model.encoder.second_variance):
        factor.log_base.fill_(0.0)


def test_gates_by_hand_are_the_closed_form_at_every_beta():
    """To float64 precision over the range and beyond it, collapse included: C to rounding, E and D likewise.

    A gate's argument is rounded to about 1e-15, so near its threshold the root sees √1e-15; its square does not.
    """
    basis, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((6, 6)))
    model = vae(Gating(), exact=True)
    with torch.no_grad():
        set_closed_form(model, basis)
    thresholds = 2 * SPECTRUM[:UNITS]
    betas = np.concatenate([np.geomspace(LOW / 10, HIGH * 10, 61), thresholds * 0.999, thresholds * 1.001])
    optimum = linear_optimum(SPECTRUM, betas, UNITS)
    for index, condition in enumerate(conditions(betas)):
        maps = model.maps(condition.view(1, 1))
        encoder = np.diag(optimum.encoder[index]) @ basis[:, :UNITS].T
        decoder = basis[:, :UNITS] @ np.diag(optimum.decoder[index])
        np.testing.assert_allclose(maps.encoder, encoder, rtol=0, atol=1e-13)
        np.testing.assert_allclose(maps.decoder, decoder, rtol=0, atol=1e-13)
        np.testing.assert_allclose(maps.variances, optimum.variances[index], rtol=0, atol=5e-15)
        assert (maps.variances.numpy() == 1).sum() == (~optimum.active[index]).sum()
