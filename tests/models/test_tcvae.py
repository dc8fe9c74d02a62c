"""β-TCVAE: the terms of its rate, its objective, and the network that its authors train with it."""

from __future__ import annotations

import math
from typing import NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from models.architecture import Gating
from models.architectures.tcvae_mlp import TCVAEMLP
from models.gates import Gate
from models.layers.tables import Dense
from models.objectives import OBJECTIVES, RateTerms, beta_tcvae, rate_terms
from models.vae import ModelOutput, Posterior, draw, gaussian_rate

DSPRITES = (1, 64, 64)
EXAMPLES = 737_280
PUBLISHED_GATING = Gating(encoder="double-sigmoid", decoder="sqrt-relu")


def posterior(batch=7, units=3, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    mean, log_variance, noise = (torch.randn(batch, units, generator=generator, dtype=dtype) for _ in range(3))
    return Posterior(mean, log_variance, draw(mean, log_variance, noise))


def output(of):
    distortion = torch.arange(len(of.mean), dtype=of.mean.dtype)
    rates = gaussian_rate(of.mean, of.log_variance).unsqueeze(1)
    return ModelOutput(distortion, rates, (of,), None)


def log_normal(value, mean, log_variance):
    return -0.5 * ((value - mean) ** 2 / math.exp(log_variance) + log_variance + math.log(2 * math.pi))


def rate_at_the_draw(of):
    normal = torch.distributions.Normal
    each = normal(of.mean, (0.5 * of.log_variance).exp()).log_prob(of.sample) - normal(0, 1).log_prob(of.sample)
    return each.sum(1)


class Densities(NamedTuple):
    posterior: float
    aggregate: float
    marginals: float
    prior: float


def densities_by_loops(of, examples):
    """Return log q(z|x), log q(z), Σ log q(z_k) and log p(z) of each example, one number at a time."""
    mean, log_variance, sample = (each.tolist() for each in of)
    batch, units = range(len(mean)), range(len(mean[0]))
    weight = 1 / (len(mean) * examples)
    for i in batch:
        each = [[log_normal(sample[i][k], mean[j][k], log_variance[j][k]) for k in units] for j in batch]
        yield Densities(
            posterior=sum(each[i]),
            aggregate=math.log(weight * sum(math.exp(sum(each[j])) for j in batch)),
            marginals=sum(math.log(weight * sum(math.exp(each[j][k]) for j in batch)) for k in units),
            prior=sum(log_normal(sample[i][k], 0, 0) for k in units),
        )


def test_the_terms_are_those_of_loops_over_single_numbers():
    """Minibatch-weighted sampling as Chen et al. define it, j = i among the sum."""
    of = posterior()
    expected = [
        (each.posterior - each.aggregate, each.aggregate - each.marginals, each.marginals - each.prior)
        for each in densities_by_loops(of, 1000)
    ]
    torch.testing.assert_close(torch.stack(rate_terms(of, 1000), 1), torch.tensor(expected, dtype=torch.float64))


@settings(max_examples=20, deadline=None)
@given(batch=st.integers(1, 9), units=st.integers(1, 5), examples=st.integers(1, 10**6), seed=st.integers(0, 99))
def test_the_three_terms_are_the_rate_at_the_drawn_latents(batch, units, examples, seed):
    """They add up to log q(z|x) - log p(z), whatever the estimate of q(z)."""
    of = posterior(batch, units, seed)
    torch.testing.assert_close(sum(rate_terms(of, examples)), rate_at_the_draw(of))


def test_another_size_of_the_training_set_shifts_the_total_correlation_by_a_constant():
    """N instead of 1 adds (K - 1) log N, 121.60 nats for dSprites and ten latents, to that of every example."""
    of = posterior(units=10)
    shift = rate_terms(of, EXAMPLES).total_correlation - rate_terms(of, 1).total_correlation
    torch.testing.assert_close(shift, torch.full_like(shift, 9 * math.log(EXAMPLES)))
    assert shift[0].item() == pytest.approx(121.60, abs=0.005)


def test_one_latent_unit_has_no_total_correlation():
    of = posterior(units=1)
    torch.testing.assert_close(rate_terms(of, 10).total_correlation, torch.zeros(7, dtype=torch.float64))


def test_the_loss_weights_the_total_correlation_of_each_example_by_its_own_beta():
    """The other two terms and the distortion have weight 1."""
    of, betas = posterior(), torch.linspace(0.1, 10, 7, dtype=torch.float64).unsqueeze(1)
    expected = [
        number
        + each.posterior
        - each.aggregate
        + beta * (each.aggregate - each.marginals)
        + each.marginals
        - each.prior
        for number, (beta, each) in enumerate(zip(betas[:, 0].tolist(), densities_by_loops(of, 50), strict=True))
    ]
    torch.testing.assert_close(beta_tcvae(output(of), betas, 50), torch.tensor(expected, dtype=torch.float64))
    assert OBJECTIVES["beta-tcvae"] is beta_tcvae


def test_beta_1_is_the_elbo_at_one_draw():
    """The estimate of q(z) cancels: what is left is distortion + log q(z|x) - log p(z)."""
    of = posterior()
    expected = output(of).distortion + rate_at_the_draw(of)
    torch.testing.assert_close(beta_tcvae(output(of), torch.ones(7, 1, dtype=torch.float64), EXAMPLES), expected)


@settings(max_examples=10, deadline=None)
@given(order=st.permutations(range(7)))
def test_permuting_the_batch_permutes_the_loss(order):
    """No example's loss depends on its position in the batch."""
    of, betas = posterior(), torch.linspace(0.1, 10, 7, dtype=torch.float64).unsqueeze(1)
    losses = beta_tcvae(output(of), betas, 50)
    permuted = output(Posterior(*(each[order] for each in of)))._replace(distortion=output(of).distortion[order])
    torch.testing.assert_close(beta_tcvae(permuted, betas[order], 50), losses[order])


def test_latents_with_axes_are_so_many_units():
    """A layer of 2x3 units is one of 6."""
    flat = posterior(units=6)
    torch.testing.assert_close(rate_terms(Posterior(*(each.view(7, 2, 3) for each in flat)), 9), rate_terms(flat, 9))


def test_terms_are_computed_in_float32_at_least():
    """Of bfloat16 posteriors, whose densities would be off by nats."""
    of = Posterior(*(each.to(torch.bfloat16) for each in posterior()))
    terms = rate_terms(of, EXAMPLES)
    assert {each.dtype for each in terms} == {torch.float32}
    exact = rate_terms(Posterior(*(each.double() for each in of)), EXAMPLES)
    torch.testing.assert_close([each.double() for each in terms], list(exact), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("log_variance", [-18.0, 18.0])
def test_narrow_and_wide_posteriors_have_finite_gradients(log_variance):
    """Densities that underflow are summed by their logarithms."""
    mean = torch.linspace(-3, 3, 24).view(8, 3).requires_grad_()
    spread = torch.full((8, 3), log_variance, requires_grad=True)
    of = Posterior(mean, spread, draw(mean, spread, torch.randn(8, 3, generator=torch.Generator().manual_seed(0))))
    loss = beta_tcvae(output(of), torch.full((8, 1), 10.0), EXAMPLES)
    loss.mean().backward()
    assert torch.isfinite(loss).all()
    assert torch.isfinite(mean.grad).all()
    assert torch.isfinite(spread.grad).all()


@pytest.mark.parametrize(("layers", "betas"), [(2, 1), (1, 2)])
def test_several_latent_layers_are_refused(layers, betas):
    """The total correlation of a hierarchy is not defined by the estimate."""
    of = output(posterior())._replace(posteriors=(posterior(),) * layers)
    with pytest.raises(ValueError, match=rf"there are {layers} latent layers and {betas} β: choose .*'beta-elbo'"):
        beta_tcvae(of, torch.ones(7, betas), 10)


def test_a_larger_beta_makes_latents_less_dependent():
    """Two independent uniform factors, seen at 45°, where two latents that copy what is seen are dependent.

    The batch is the whole set, so that q(z) is exact up to N, which is left out. What is known of x stays.
    """
    side = torch.linspace(-1, 1, 10)
    factors = torch.cartesian_prod(side, side)
    turned = factors @ torch.tensor([[1.0, 1.0], [-1.0, 1.0]]) * math.sqrt(0.5)
    found = {}
    for beta in (1.0, 20.0):
        torch.manual_seed(0)
        encoder, decoder = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
        torch.nn.init.eye_(encoder.weight)
        torch.nn.init.eye_(decoder.weight)
        log_variance = torch.full((2,), -3.0, requires_grad=True)
        optimiser = torch.optim.Adam([*encoder.parameters(), *decoder.parameters(), log_variance], lr=5e-2)
        for _ in range(120):
            mean = encoder(turned)
            spread = log_variance.expand_as(mean)
            of = Posterior(mean, spread, draw(mean, spread, torch.randn_like(mean)))
            distortion = 30 * (decoder(of.sample) - turned).square().sum(1)
            loss = beta_tcvae(output(of)._replace(distortion=distortion), torch.full((100, 1), beta), 100)
            optimiser.zero_grad()
            loss.mean().backward()
            optimiser.step()
        found[beta] = RateTerms(*(each.mean().item() for each in rate_terms(of, 1)))
    assert found[1.0].total_correlation > 0.1
    assert found[20.0].total_correlation < 0.03
    assert found[20.0].mutual_information > 0.9 * found[1.0].mutual_information


def built(architecture, gating, shape=DSPRITES):
    with torch.device("meta"):
        return architecture.build(shape, "bernoulli", gating)


def parameters(module):
    return sum(each.numel() for each in module.parameters())


@pytest.mark.parametrize(
    ("gating", "total", "encoder", "decoder"),
    [
        (None, 14_196_516, 6_381_620, 7_814_896),
        (PUBLISHED_GATING, 14_206_116, 6_386_420, 7_819_696),
    ],
)
def test_parameter_counts_are_those_of_the_published_networks(gating, total, encoder, decoder):
    """Four gates of 1200 features, two in each half; no torch is needed to count."""
    architecture = TCVAEMLP()
    model = built(architecture, gating)
    assert (parameters(model), parameters(model.encoder), parameters(model.decoder)) == (total, encoder, decoder)
    assert architecture.parameters(DSPRITES, multi_rate=gating is not None) == total


def test_tables_say_the_shapes_and_the_work_that_torch_finds():
    architecture = TCVAEMLP()
    model = built(architecture, None)
    shapes = architecture.table(DSPRITES).parameter_shapes(DSPRITES, 10, multi_rate=False)
    assert [tuple(each.shape) for each in model.parameters()] == shapes
    with torch.device("meta"), FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.rand(1, *DSPRITES), None, [torch.randn(1, 10)])
    assert counter.get_total_flops() == 2 * architecture.multiply_adds(DSPRITES)


def test_gates_stand_before_every_activation_but_the_decoder_s_first():
    """And have the activations that the gating names; the heads and the last layer have none."""
    model = built(TCVAEMLP(), PUBLISHED_GATING)
    places = {name: each.activation.__name__ for name, each in model.named_modules() if isinstance(each, Gate)}
    assert places == {
        "encoder.layers.0.gate": "double_sigmoid",
        "encoder.layers.1.gate": "double_sigmoid",
        "decoder.1.gate": "sqrt_relu",
        "decoder.2.gate": "sqrt_relu",
    }


def test_the_network_computes_what_its_layers_say():
    """ReLU in the encoder, tanh in the decoder, gates before both, a head of log σ; by hand, from the weights."""
    torch.manual_seed(0)
    shape, condition = (1, 3, 2), torch.tensor([[-1.2], [0.4], [1.5]], dtype=torch.float64)
    architecture = TCVAEMLP(latent_units=2, hidden=[5, 4], decoder_hidden=[4, 5, 3])
    model = architecture.build(shape, "bernoulli", PUBLISHED_GATING).double()
    weights = model.state_dict()
    x, noise = torch.rand(3, *shape, dtype=torch.float64), torch.randn(3, 2, dtype=torch.float64)

    def linear(features, name):
        return features @ weights[f"{name}.linear.weight"].T + weights[f"{name}.linear.bias"]

    def affine(name):
        return condition * weights[f"{name}.gate.weight"] + weights[f"{name}.gate.bias"]

    features = x.flatten(1)
    for name in ("encoder.layers.0", "encoder.layers.1"):
        features = torch.relu(linear(features, name) * 2 * torch.sigmoid(affine(name)))
    mean, log_sigma = linear(features, "encoder.mean"), linear(features, "encoder.log_variance")
    latents = mean + log_sigma.exp() * noise
    features = torch.tanh(linear(latents, "decoder.0"))
    for name in ("decoder.1", "decoder.2"):
        features = torch.tanh(linear(features, name) * (1 - affine(name).exp()).clamp(min=0).sqrt())
    found = model(x, condition, [noise])
    (of,) = found.posteriors
    torch.testing.assert_close(tuple(of), (mean, 2 * log_sigma, latents))
    torch.testing.assert_close(found.reconstruction, torch.sigmoid(linear(features, "decoder.3")).view(3, *shape))


def test_the_second_head_is_log_variance_where_that_is_asked_for():
    """The same weights then give half the logarithm."""
    x, noise = torch.rand(2, 1, 2, 2), [torch.zeros(2, 3)]
    models = [
        TCVAEMLP(latent_units=3, hidden=[4], decoder_hidden=[4], log_sigma=log_sigma).build(
            (1, 2, 2), "bernoulli", None
        )
        for log_sigma in (True, False)
    ]
    models[1].load_state_dict(models[0].state_dict())
    doubled, plain = (model(x, None, noise).posteriors[0] for model in models)
    torch.testing.assert_close(doubled.log_variance, 2 * plain.log_variance)


@pytest.mark.parametrize("gating", [None, PUBLISHED_GATING])
def test_every_parameter_gets_a_gradient_from_the_objective(gating):
    """Through the network and the pairs of the batch, for many β at once."""
    torch.manual_seed(0)
    model = TCVAEMLP(latent_units=4, hidden=[16, 16], decoder_hidden=[16, 16, 16]).build((1, 8, 8), "bernoulli", gating)
    condition = torch.linspace(-1.7, 1.7, 8).unsqueeze(1)
    x = torch.rand(8, 1, 8, 8).round()
    found = model(x, condition if gating else None, [torch.randn(8, 4)])
    beta_tcvae(found, torch.logspace(-1, 1, 8).unsqueeze(1), 100).mean().backward()
    for name, parameter in model.named_parameters():
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("widths", [[], [0], [16, 1.5], 1200, None])
def test_widths_must_be_lists_of_counts(widths):
    """The message begins with the option, so that a spec's line can be named."""
    with pytest.raises(ValueError, match=r"^(a width in )?decoder_hidden is .*; it must be a (list|whole number)"):
        TCVAEMLP(decoder_hidden=widths)
    with pytest.raises(ValueError, match=r"^(a width in )?hidden is"):
        TCVAEMLP(hidden=widths)


def test_an_empty_shape_is_refused_by_its_own_name():
    with pytest.raises(ValueError, match="architecture 'tcvae-mlp' takes examples of any non-empty shape"):
        TCVAEMLP().check_shape((1, 0, 4))


def test_a_layer_has_one_activation():
    with pytest.raises(ValueError, match="a ReLU or a tanh, not both"):
        Dense((3,), tanh=True)
