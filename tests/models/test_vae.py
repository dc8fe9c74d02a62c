"""The contract of every model, on small networks."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from models.architecture import Gating
from models.architectures.registry import configure
from models.gates import Gate
from models.layers.modules import build_vae
from models.layers.tables import Convolution, Dense, ResidualBlock, Table, TransposedConvolution

SHAPE = (1, 8, 8)
BATCH = 6
TABLE = Table(
    encoder=(Convolution(4, kernel=4, stride=2, padding=1, norm=True), ResidualBlock()),
    decoder=(
        Dense((4, 4, 4), gated=False, relu=False),
        ResidualBlock(),
        TransposedConvolution(4, kernel=3, stride=1, padding=1, norm=True),
        TransposedConvolution(1, kernel=4, stride=2, padding=1, gated=False, relu=False),
    ),
)


def small_vae(gating, likelihood="bernoulli"):
    """Return a network with every kind of layer, in double precision and eval mode; always the same."""
    torch.manual_seed(1)
    return build_vae(TABLE, SHAPE, 3, likelihood, gating).double().eval()


def batch(seed=0):
    """Return x, condition and noise."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(BATCH, *SHAPE, generator=generator, dtype=torch.float64)
    condition = torch.rand(BATCH, 1, generator=generator, dtype=torch.float64) * 3.4 - 1.7
    return x, condition, [torch.randn(BATCH, 3, generator=generator, dtype=torch.float64)]


def numbers(output):
    """Return everything in the evidence as one tuple of tensors, each with the batch first."""
    (posterior,) = output.posteriors
    return output.distortion, output.rates, output.reconstruction, *posterior


@pytest.mark.parametrize(("likelihood", "unit"), [("bernoulli", "nats"), ("squared-error", "sse")])
@pytest.mark.parametrize("gating", [None, Gating()])
def test_evidence_has_the_shapes_of_the_contract(gating, likelihood, unit):
    model = small_vae(gating, likelihood)
    x, condition, noise = batch()
    output = model(x, condition if gating else None, noise)
    assert [tuple(each.shape) for each in numbers(output)] == [
        (6,),
        (6, 1),
        (6, 1, 8, 8),
        (6, 3),
        (6, 3),
        (6, 3),
    ]
    assert 0 <= output.reconstruction.min() <= output.reconstruction.max() <= 1
    assert (model.latent_shapes, model.multi_rate, model.distortion_unit) == (
        ((3,),),
        gating is not None,
        unit,
    )


def test_evidence_is_the_likelihood_and_the_divergence_at_the_drawn_latents():
    """Distortion is of the decoded sample mean + σ · noise, and the rate is the KL to the standard normal."""
    model, (x, condition, noise) = small_vae(Gating()), batch()
    distortion, rates, reconstruction, mean, log_variance, sample = numbers(model(x, condition, noise))
    scale = torch.exp(0.5 * log_variance)
    torch.testing.assert_close(sample, mean + scale * noise[0])
    torch.testing.assert_close(reconstruction, model.generate([sample], condition))
    prior = torch.distributions.Normal(torch.zeros_like(mean), torch.ones_like(scale))
    divergence = torch.distributions.kl_divergence(torch.distributions.Normal(mean, scale), prior).sum(1)
    torch.testing.assert_close(rates[:, 0], divergence)
    pixels = torch.distributions.Bernoulli(probs=reconstruction, validate_args=False)
    torch.testing.assert_close(distortion, -pixels.log_prob(x).sum((1, 2, 3)))


def open_gates(model):
    """Make every gate's factor 1 to double precision at any condition in range: sigmoid(a) or √(1 - exp(-a))."""
    for module in model.modules():
        if isinstance(module, Gate):
            nn.init.zeros_(module.weight)
            nn.init.constant_(module.bias, 50.0 if module.activation is torch.sigmoid else -50.0)


def test_open_gates_leave_the_plain_network():
    """With every factor 1, the multi-rate network computes what the plain one of the same weights does."""
    gated, plain = small_vae(Gating()), small_vae(None)
    open_gates(gated)
    ungated_state = {name: value for name, value in gated.state_dict().items() if ".gate." not in name}
    plain.load_state_dict(ungated_state, strict=True)
    x, condition, noise = batch()
    torch.testing.assert_close(numbers(gated(x, condition, noise)), numbers(plain(x, None, noise)))


@pytest.mark.parametrize("decoder_gate", ["sqrt-relu", "sigmoid"])
def test_encoder_and_decoder_have_the_activations_that_the_gating_names(decoder_gate):
    model = small_vae(Gating(decoder=decoder_gate))
    encoder, decoder = (
        {module.activation.__name__ for module in half.modules() if isinstance(module, Gate)}
        for half in (model.encoder, model.decoder)
    )
    assert encoder == {"sigmoid"}
    assert decoder == {decoder_gate.replace("-", "_")}


@settings(max_examples=10, deadline=None)
@given(order=st.permutations(range(BATCH)))
def test_permuting_the_batch_permutes_the_evidence(order):
    """No output depends on the position of its example in the batch."""
    model, (x, condition, noise) = small_vae(Gating()), batch()
    straight = numbers(model(x, condition, noise))
    permuted = numbers(model(x[order], condition[order], [noise[0][order]]))
    for found, expected in zip(permuted, straight, strict=True):
        torch.testing.assert_close(found, expected[order])


@settings(max_examples=10, deadline=None)
@given(others=st.lists(st.floats(-5, 5), min_size=BATCH - 1, max_size=BATCH - 1))
def test_an_example_does_not_depend_on_the_beta_of_others(others):
    """In evaluation, changing the condition of the other examples changes nothing for this one."""
    model, (x, condition, noise) = small_vae(Gating()), batch()
    changed = torch.cat([condition[:1], torch.tensor(others, dtype=torch.float64).unsqueeze(1)])
    straight, found = numbers(model(x, condition, noise)), numbers(model(x, changed, noise))
    for one, other in zip(found, straight, strict=True):
        torch.testing.assert_close(one[0], other[0])


def test_the_condition_changes_the_evidence():
    """β reaches encoder and decoder of a multi-rate model."""
    model, (x, condition, noise) = small_vae(Gating()), batch()
    assert not torch.allclose(model(x, condition, noise).rates, model(x, condition - 1, noise).rates)
    assert not torch.allclose(model.generate(noise, condition), model.generate(noise, condition - 1))


def test_a_call_leaves_nothing_on_the_model():
    """β is an argument: a call in evaluation does not change the state of the model."""
    model, (x, condition, noise) = small_vae(Gating()), batch()
    state = {name: (id(module), set(vars(module))) for name, module in model.named_modules()}
    tensors = {name: value.clone() for name, value in model.state_dict().items()}
    model(x, condition, noise)
    assert state == {name: (id(module), set(vars(module))) for name, module in model.named_modules()}
    torch.testing.assert_close(dict(model.state_dict()), tensors, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("gating", "condition", "message"),
    [
        (Gating(), None, "a multi-rate model needs a condition"),
        (Gating(), torch.zeros(BATCH), r"the condition has shape \(6,\)"),
        (None, torch.zeros(BATCH, 1), "a plain VAE takes no condition"),
    ],
)
def test_a_condition_that_does_not_fit_the_model_is_refused(gating, condition, message):
    """In forward and in generate alike."""
    model, (x, _, noise) = small_vae(gating), batch()
    with pytest.raises(ValueError, match=message):
        model(x, condition, noise)
    with pytest.raises(ValueError, match=message):
        model.generate(noise, condition)


@pytest.mark.parametrize("name", ["mlp", "resnet", "conv"])
def test_every_trained_parameter_gets_a_gradient(name):
    """Nothing in a multi-rate network is out of reach of the loss over a batch of many β."""
    torch.manual_seed(0)
    options = {"hidden": [16, 16]} if name == "mlp" else {}
    model = configure(name, latent_units=4, **options).build((1, 28, 28), "bernoulli", Gating())
    condition = torch.linspace(-1.7, 1.7, 8).unsqueeze(1)
    output = model(torch.rand(8, 1, 28, 28), condition, [torch.randn(8, 4)])
    (output.distortion + output.rates[:, 0]).mean().backward()
    for label, parameter in model.named_parameters():
        assert torch.isfinite(parameter.grad).all(), label
        assert parameter.grad.abs().max() > 0, label


@pytest.mark.parametrize("gating", [None, Gating()])
@pytest.mark.parametrize(
    ("name", "options", "shape"),
    [
        ("conv", {}, (3, 32, 32)),
        ("conv", {}, (3, 64, 64)),
        ("resnet", {}, (3, 32, 32)),
        ("resnet", {"multi_rate_output_kernel": 3}, (3, 32, 32)),
        ("resnet", {}, (3, 64, 64)),
    ],
)
def test_colour_images_are_learnt_by_squared_error(name, options, shape, gating):
    """Images of the input's shape, their summed squared error as the distortion, and gradients that are finite."""
    torch.manual_seed(0)
    model = configure(name, latent_units=4, **options).build(shape, "squared-error", gating)
    x, condition = torch.rand(2, *shape), torch.tensor([[-1.7], [1.7]]) if gating else None
    output = model(x, condition, [torch.randn(2, 4)])
    assert output.reconstruction.shape == x.shape
    assert 0 <= output.reconstruction.min() < output.reconstruction.max() <= 1
    torch.testing.assert_close(output.distortion, (x - output.reconstruction).square().sum((1, 2, 3)))
    (output.distortion + output.rates[:, 0]).mean().backward()
    for label, parameter in model.named_parameters():
        assert torch.isfinite(parameter.grad).all(), label
    for half in (model.encoder, model.decoder):
        assert next(half.parameters()).grad.abs().max() > 0


def test_distortion_and_rates_are_float32_under_bfloat16_autocast():
    """Lower precision stays inside the network."""
    model = small_vae(Gating()).float()
    x, condition, noise = batch()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = model(x.float(), condition.float(), [noise[0].float()])
    assert {each.dtype for each in numbers(output)} == {torch.float32}


def test_building_twice_from_one_seed_gives_the_same_weights():
    """Initialisation is a function of torch's generator alone."""
    first, second = small_vae(Gating()).state_dict(), small_vae(Gating()).state_dict()
    torch.testing.assert_close(dict(first), dict(second), rtol=0, atol=0)
