"""MR-VAE, Theorem 1, on one direction: what the paper's gates can hold, and what they cannot.

One value, one unit, variance λ = 1/2, so that the unit collapses at β = 1; other λ shift log β, nothing else.
See docs/decisions/theorem-1.md.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from models.architecture import Gating
from models.architectures.linear.linear import Linear
from models.architectures.linear.optimum import linear_optimum
from models.gates import standardise_log_beta

VARIANCE = 0.5
POINTS = 50
SIGMOID_FLOOR = 3e-4
"""Sigmoid encoder gates miss the optimum by more nats than this, on average over a range with a collapse."""
OPEN = -50.0
"""The argument at which √(1 - exp(a)) is 1 in float64."""


def excess_nats(model, betas):
    """Return (loss - optimal loss) / β (POINTS,) of the network at each β, without sampling: 0 at the optimum."""
    weights = torch.from_numpy(betas)
    condition = standardise_log_beta(weights.view(-1, 1), betas[0], betas[-1])
    unit = torch.ones(POINTS, 1, dtype=torch.float64)
    encoder, log_variance = (each[:, 0] for each in model.encoder(unit, condition))
    decoder = model.decoder(unit, condition)[:, 0]
    error = VARIANCE * (1 - decoder * encoder).square() + decoder.square() * log_variance.exp()
    rate = 0.5 * (log_variance.exp() + VARIANCE * encoder.square() - 1 - log_variance)
    optimum = linear_optimum([VARIANCE], betas, 1)
    return (error - torch.from_numpy(optimum.squared_error)) / weights + rate - torch.from_numpy(optimum.rate_nats)


def minimised(model, betas, scatter):
    """Scatter the parameters, minimise the mean excess by L-BFGS, and return (start, mean at the end, largest)."""
    parameters = [parameter for name, parameter in model.named_parameters() if name != "mean"]
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in parameters:
            parameter.add_(scatter * torch.randn_like(parameter))
        start = excess_nats(model, betas).mean().item()
    optimiser = torch.optim.LBFGS(
        parameters, max_iter=400, history_size=30, tolerance_change=0, line_search_fn="strong_wolfe"
    )

    def closure():
        optimiser.zero_grad()
        loss = excess_nats(model, betas).mean()
        loss.backward()
        return loss

    optimiser.step(closure)
    found = excess_nats(model, betas).detach()
    return start, found.mean().item(), found.max().item()


def best_fit(low, high, gating):
    """Return the smallest mean excess found over log-spaced β in [low, high], and the largest at that fit."""
    torch.manual_seed(0)
    model = Linear(1).build((1,), "squared-error", gating).double()
    _, mean, largest = minimised(model, np.geomspace(low, high, POINTS), scatter=0.2)
    return mean, largest


def exact_model(low, high):
    """Return the network whose exact gates hold the closed form: g² = ReLU(1 - β / 2λ), D = √λ g, E = g / √λ."""
    model = Linear(1, exact_gates=True).build((1,), "squared-error", Gating()).double()
    encoder, decoder = model.encoder, model.decoder
    slope = (math.log(high) - math.log(low)) / (2 * math.sqrt(3))
    shift = (math.log(high) + math.log(low)) / 2 - math.log(2 * VARIANCE)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(0.0)
        for layer, weight in (
            (encoder.layers.first, 1.0),
            (encoder.layers.second, VARIANCE**-0.5),
            (decoder.first, 1.0),
            (decoder.second, VARIANCE**0.5),
        ):
            layer.weight.fill_(weight)
            layer.gate.bias.fill_(OPEN)
        for gate in (encoder.layers.second.gate, decoder.first.gate, encoder.first_variance.gate):
            gate.weight.fill_(slope)
            gate.bias.fill_(shift)
    return model


@pytest.mark.parametrize("decoder_gate", ["sqrt-relu", "sigmoid"])
def test_the_papers_gates_hold_the_optimum_only_nearly_where_a_unit_collapses(decoder_gate):
    """Across a collapse the best fit of sigmoid encoder gates misses by some thousandths of a nat, and no less."""
    mean, largest = best_fit(math.exp(-5), math.exp(2), Gating(decoder=decoder_gate))
    assert SIGMOID_FLOOR < mean < 3e-3
    assert 3e-3 < largest < 2e-2


def test_the_papers_gates_come_close_where_no_unit_collapses():
    """Up to a third of the threshold the fit found misses by less than a thousandth of a nat anywhere."""
    _, largest = best_fit(math.exp(-7), math.exp(-1), Gating())
    assert largest < 1e-3


def test_exact_gates_hold_the_optimum_across_a_collapse_and_a_search_finds_it_again():
    """The floor above is the sigmoid's: exact gates have none, and the same search from above it ends far below it.

    It starts near the optimum: from afar it stops at the root's infinite slope, at a place that rounding decides.
    """
    low, high = math.exp(-5), math.exp(2)
    betas = np.geomspace(low, high, POINTS)
    model = exact_model(low, high)
    # The loss of rounded weights is off by some 1e-16, and divided by β.
    assert excess_nats(model, betas).abs().max() < 1e-15 / low
    start, mean, _ = minimised(model, betas, scatter=0.02)
    assert mean < SIGMOID_FLOOR / 10 < SIGMOID_FLOOR < start


def test_sigmoid_gates_are_the_exact_response_to_a_decoder_that_does_not_move():
    """E = sigmoid(log(2δ²) - log β) / δ and C = sigmoid(log β - log(2δ²)), for every β, to float64 precision."""
    norm, low, high = 0.8, 0.01, 10.0
    model = Linear(1).build((1,), "squared-error", Gating()).double()
    slope = (math.log(high) - math.log(low)) / (2 * math.sqrt(3))
    shift = (math.log(high) + math.log(low)) / 2 - math.log(2 * norm**2)  # w s + b = log β - log(2δ²)
    encoder = model.encoder
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(0.0)
        encoder.layers.first.weight.fill_(2.0)  # its gate is constant, 1/2
        encoder.layers.second.weight.fill_(1 / norm)
        encoder.layers.second.gate.weight.fill_(-slope)
        encoder.layers.second.gate.bias.fill_(-shift)
        encoder.first_variance.gate.weight.fill_(slope)
        encoder.first_variance.gate.bias.fill_(shift)
        encoder.second_variance.log_base.fill_(math.log(2.0))
    betas = np.geomspace(low / 10, high * 10, 40)
    level = betas / 2
    condition = standardise_log_beta(torch.from_numpy(betas).view(-1, 1), low, high)
    mean, log_variance = encoder(torch.ones(40, 1, dtype=torch.float64), condition)
    np.testing.assert_allclose(mean[:, 0].detach(), norm / (norm**2 + level), rtol=1e-13)
    np.testing.assert_allclose(log_variance[:, 0].detach().exp(), level / (norm**2 + level), rtol=1e-13)
