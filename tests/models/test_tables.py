"""The sizes and costs of a layer table agree with the network that torch builds from it."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from models.architecture import Gating
from models.architectures.registry import ARCHITECTURES
from models.layers.modules import build_layer, build_vae
from models.layers.tabled import TabledArchitecture
from models.layers.tables import Convolution, Dense, ResidualBlock, Table, TransposedConvolution, final_shape

MNIST = (1, 28, 28)
CIFAR = SVHN = (3, 32, 32)
CELEBA = (3, 64, 64)
SHAPES = (MNIST, CIFAR, CELEBA)
GATING = Gating()


def parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


def gated_features(module):
    return [len(weight) for name, weight in module.named_parameters() if name.endswith("gate.weight")]


def built(architecture, shape, gating):
    """Return a model without the memory and the work of its weights: shapes are all that counting needs."""
    with torch.device("meta"):
        return architecture.build(shape, "squared-error", gating)


def counted_multiply_adds(model, shape, multi_rate):
    """Return the multiply-adds that torch counts in the forward pass of two examples, halved."""
    with torch.device(next(model.parameters()).device):
        noise = [torch.randn(2, *latent) for latent in model.latent_shapes]
        x, condition = torch.rand(2, *shape), torch.zeros(2, 1) if multi_rate else None
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(x, condition, noise)
    per_example, remainder = divmod(counter.get_total_flops(), 2 * 2)
    assert remainder == 0
    return per_example


@pytest.mark.parametrize(
    ("name", "shape", "latent_units", "gating", "total", "encoder", "decoder"),
    [
        ("resnet", MNIST, 32, None, 1_881_217, 1_001_344, 879_873),
        ("resnet", MNIST, 32, GATING, 1_884_289, 1_003_008, 881_281),
        ("conv", MNIST, 32, None, 17_526_977, 11_083_456, 6_443_521),
        ("conv", MNIST, 32, GATING, 17_532_353, 11_087_296, 6_445_057),
        ("resnet", CIFAR, 256, None, 7_896_963, 5_067_072, 2_829_891),
        ("resnet", CIFAR, 256, GATING, 7_899_779, 5_068_736, 2_831_043),
        ("conv", CIFAR, 256, None, 40_462_723, 13_119_616, 27_343_107),
        ("conv", CIFAR, 256, GATING, 40_468_099, 13_123_456, 27_344_643),
        ("resnet", SVHN, 32, None, 2_391_491, 1_396_608, 994_883),
        ("resnet", SVHN, 32, GATING, 2_394_307, 1_398_272, 996_035),
        ("conv", SVHN, 32, None, 23_947_203, 11_284_160, 12_663_043),
        ("conv", SVHN, 32, GATING, 23_952_579, 11_288_000, 12_664_579),
        ("resnet", CELEBA, 64, None, 2_770_819, 1_282_112, 1_488_707),
        ("resnet", CELEBA, 64, GATING, 2_774_403, 1_284_032, 1_490_371),
        ("conv", CELEBA, 64, None, 34_594_563, 13_119_232, 21_475_331),
        ("conv", CELEBA, 64, GATING, 34_600_195, 13_123_072, 21_477_123),
    ],
)
def test_parameter_counts_are_those_of_the_paper_s_models(name, shape, latent_units, gating, total, encoder, decoder):
    """The known counts, of the whole model and of each half, from torch and from the table."""
    architecture = ARCHITECTURES[name](latent_units=latent_units)
    model = built(architecture, shape, gating)
    assert (parameters(model), parameters(model.encoder), parameters(model.decoder)) == (
        total,
        encoder,
        decoder,
    )
    assert architecture.parameters(shape, multi_rate=gating is not None) == total


@pytest.mark.parametrize(
    ("shape", "latent_units", "gating", "total", "decoder"),
    [
        (CIFAR, 256, None, 7_896_963, 2_829_891),
        (CIFAR, 256, GATING, 7_898_435, 2_829_699),
        (SVHN, 32, None, 2_391_491, 994_883),
        (SVHN, 32, GATING, 2_392_963, 994_691),
    ],
)
def test_the_authors_output_kernel_changes_the_multi_rate_resnet_alone(shape, latent_units, gating, total, decoder):
    """The counts of the authors' code, whose plain model is that of the default."""
    architecture = ARCHITECTURES["resnet"](latent_units=latent_units, multi_rate_output_kernel=3)
    model = built(architecture, shape, gating)
    assert (parameters(model), parameters(model.decoder)) == (total, decoder)
    assert architecture.parameters(shape, multi_rate=gating is not None) == total


def test_the_authors_output_layer_is_of_the_image_s_shape_and_costs_what_torch_counts():
    """Its multiply-adds, too, follow from the table of the multi-rate model."""
    architecture = ARCHITECTURES["resnet"](multi_rate_output_kernel=3)
    table = architecture.multi_rate_table(CIFAR)
    counted = counted_multiply_adds(built(architecture, CIFAR, GATING), CIFAR, multi_rate=True)
    assert final_shape(table.decoder, (32,)) == CIFAR
    assert counted == table.multiply_adds(CIFAR, 32) < architecture.multiply_adds(CIFAR)


@pytest.mark.parametrize(
    ("name", "shape", "encoder", "decoder"),
    [
        ("resnet", MNIST, (7, 832), (6, 704)),
        ("conv", MNIST, (4, 1920), (2, 768)),
        ("resnet", CIFAR, (7, 832), (5, 576)),
        ("conv", CIFAR, (4, 1920), (2, 768)),
        ("resnet", CELEBA, (8, 960), (7, 832)),
        ("conv", CELEBA, (4, 1920), (3, 896)),
    ],
)
def test_gates_stand_where_the_paper_s_models_have_them(name, shape, encoder, decoder):
    """The number of gates, and of features they scale, in each half."""
    model = built(ARCHITECTURES[name](), shape, GATING)
    halves = [gated_features(half) for half in (model.encoder, model.decoder)]
    assert [(len(gates), sum(gates)) for gates in halves] == [encoder, decoder]


TABLED = [name for name, architecture in ARCHITECTURES.items() if issubclass(architecture, TabledArchitecture)]


@pytest.mark.parametrize("gating", [None, GATING])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", TABLED)
def test_tables_give_the_parameter_shapes_and_multiply_adds_that_torch_finds(name, shape, gating):
    """Shapes in the model's own order, and the count of torch's FlopCounterMode."""
    architecture = ARCHITECTURES[name]()
    model = built(architecture, shape, gating)
    table, multi_rate = architecture.table(shape), gating is not None
    shapes = table.parameter_shapes(shape, architecture.latent_units, multi_rate=multi_rate)
    assert [tuple(parameter.shape) for parameter in model.parameters()] == shapes
    assert counted_multiply_adds(model, shape, multi_rate) == architecture.multiply_adds(shape)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", TABLED)
def test_the_decoder_ends_in_the_shape_of_an_example(name, shape):
    table = ARCHITECTURES[name]().table(shape)
    assert final_shape(table.decoder, (32,)) == shape


@pytest.mark.parametrize(
    ("name", "shape", "encoder", "decoder"),
    [
        ("conv", MNIST, [14, 7, 3, 1], [4, 7, 14, 28]),
        ("resnet", MNIST, [14, 7, 4, 4, 4], [4, 7, 7, 7, 14, 28]),
        ("conv", CIFAR, [16, 8, 4, 2], [8, 16, 33, 32]),
        ("resnet", CIFAR, [16, 8, 8, 8, 8], [8, 8, 8, 16, 32]),
        ("conv", CELEBA, [32, 16, 8, 4], [8, 15, 31, 62, 64]),
        ("resnet", CELEBA, [32, 16, 8, 4, 4, 4], [4, 7, 7, 7, 15, 32, 64]),
    ],
)
def test_every_layer_s_output_has_the_sides_of_the_paper_s_model(name, shape, encoder, decoder):
    """Strides and paddings, which no parameter count shows."""
    table = ARCHITECTURES[name]().table(shape)
    assert [final_shape(table.encoder[: depth + 1], shape)[1:] for depth in range(len(table.encoder))] == [
        (side, side) for side in encoder
    ]
    assert [final_shape(table.decoder[: depth + 1], (32,))[1:] for depth in range(len(table.decoder))] == [
        (side, side) for side in decoder
    ]


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
