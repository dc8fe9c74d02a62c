"""What a layer table says about a network, against the network that torch builds from it."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from models.architecture import Gating
from models.layers import build_layer, build_vae
from models.registry import ARCHITECTURES
from models.tables import Convolution, Dense, ResidualBlock, Table, TransposedConvolution, final_shape

MNIST = (1, 28, 28)
GATING = Gating()


def parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


def gated_features(module):
    return [len(weight) for name, weight in module.named_parameters() if name.endswith("gate.weight")]


def counted_multiply_adds(model, shape, multi_rate):
    """Return the multiply-adds that torch counts in the forward pass of two examples, halved."""
    noise = [torch.randn(2, *latent) for latent in model.latent_shapes]
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.rand(2, *shape), torch.zeros(2, 1) if multi_rate else None, noise)
    per_example, remainder = divmod(counter.get_total_flops(), 2 * 2)
    assert remainder == 0
    return per_example


@pytest.mark.parametrize(
    ("name", "gating", "total", "encoder", "decoder"),
    [
        ("resnet", None, 1_881_217, 1_001_344, 879_873),
        ("resnet", GATING, 1_884_289, 1_003_008, 881_281),
        ("conv", None, 17_526_977, 11_083_456, 6_443_521),
        ("conv", GATING, 17_532_353, 11_087_296, 6_445_057),
    ],
)
def test_parameter_counts_are_those_of_the_paper_s_models(name, gating, total, encoder, decoder):
    """The known counts, of the whole model and of each half, from torch and from the table."""
    architecture = ARCHITECTURES[name](latent_units=32)
    model = architecture.build(MNIST, "bernoulli", gating)
    assert (parameters(model), parameters(model.encoder), parameters(model.decoder)) == (
        total,
        encoder,
        decoder,
    )
    assert architecture.parameters(MNIST, multi_rate=gating is not None) == total


@pytest.mark.parametrize(
    ("name", "encoder", "decoder"), [("resnet", (7, 832), (6, 704)), ("conv", (4, 1920), (2, 768))]
)
def test_gates_stand_where_the_paper_s_models_have_them(name, encoder, decoder):
    """The number of gates, and of features they scale, in each half."""
    model = ARCHITECTURES[name]().build(MNIST, "bernoulli", GATING)
    halves = [gated_features(half) for half in (model.encoder, model.decoder)]
    assert [(len(gates), sum(gates)) for gates in halves] == [encoder, decoder]


@pytest.mark.parametrize("gating", [None, GATING])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_tables_give_the_parameter_shapes_and_multiply_adds_that_torch_finds(name, gating):
    """Shapes in the model's own order, and the count of torch's FlopCounterMode."""
    architecture = ARCHITECTURES[name]()
    model = architecture.build(MNIST, "bernoulli", gating)
    shapes = architecture.table(MNIST).parameter_shapes(MNIST, 32, multi_rate=gating is not None)
    assert [tuple(parameter.shape) for parameter in model.parameters()] == shapes
    assert counted_multiply_adds(model, MNIST, gating is not None) == architecture.multiply_adds(MNIST)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_decoder_ends_in_the_shape_of_an_example(name):
    table = ARCHITECTURES[name]().table(MNIST)
    assert final_shape(table.decoder, (32,)) == MNIST


spatial_layers = st.one_of(
    st.builds(
        Convolution,
        st.integers(1, 3),
        kernel=st.integers(1, 4),
        stride=st.integers(1, 3),
        padding=st.integers(0, 2),
        norm=st.booleans(),
        gated=st.booleans(),
        relu=st.booleans(),
    ),
    st.builds(
        TransposedConvolution,
        st.integers(1, 3),
        kernel=st.integers(3, 4),
        stride=st.just(2),
        padding=st.integers(0, 1),
        output_padding=st.integers(0, 1),
        norm=st.booleans(),
        gated=st.booleans(),
        relu=st.booleans(),
    ),
    st.just(ResidualBlock()),
    st.builds(Dense, st.just((2, 4, 4)), gated=st.booleans(), relu=st.booleans()),
)


@settings(max_examples=60, deadline=None)
@given(layer=spatial_layers, channels=st.integers(1, 3), height=st.integers(5, 9), width=st.integers(5, 9))
def test_any_layer_gives_the_shapes_that_its_module_has(layer, channels, height, width):
    """Output and parameter shapes and multiply-adds of a single layer, gated."""
    shape = (channels, height, width)
    module = build_layer(layer, shape, "sigmoid")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        output = module(torch.randn(2, *shape), torch.zeros(2, 1))
    assert tuple(output.shape[1:]) == layer.output_shape(shape)
    assert [tuple(each.shape) for each in module.parameters()] == layer.parameter_shapes(shape, multi_rate=True)
    assert counter.get_total_flops() == 4 * layer.multiply_adds(shape)


@settings(max_examples=10, deadline=None)
@given(latent_units=st.integers(1, 9), hidden=st.lists(st.integers(1, 9), min_size=1, max_size=3))
def test_an_mlp_of_any_widths_and_shape_counts_what_it_builds(latent_units, hidden):
    """Parameters, multiply-adds and one gate for every hidden layer of encoder and decoder."""
    shape = (2, 3, 5)
    architecture = ARCHITECTURES["mlp"](latent_units=latent_units, hidden=hidden)
    model = architecture.build(shape, "squared-error", GATING)
    assert parameters(model) == architecture.parameters(shape, multi_rate=True)
    assert counted_multiply_adds(model, shape, multi_rate=True) == architecture.multiply_adds(shape)
    assert gated_features(model) == [*hidden, *reversed(hidden)]


def test_a_table_of_ones_own_builds_a_model():
    """A new architecture is a table and nothing else."""
    table = Table(
        encoder=(Convolution(2, kernel=3, stride=2, padding=1),),
        decoder=(Dense((3, 6, 8), gated=False, relu=False), Convolution(1, 3, 1, 1, gated=False, relu=False)),
    )
    model = build_vae(table, (1, 6, 8), 5, "bernoulli", GATING)
    assert model.generate([torch.randn(2, 5)], torch.zeros(2, 1)).shape == (2, 1, 6, 8)
    assert parameters(model) == sum(math.prod(each) for each in table.parameter_shapes((1, 6, 8), 5, True))
