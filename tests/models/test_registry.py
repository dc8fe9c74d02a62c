"""Architectures by name, and what their options accept."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict

import pytest

from models.architectures.registry import ARCHITECTURES, configure


def test_configuring_and_estimating_does_not_import_torch():
    """Planning reads configurations, shapes and costs without paying for torch."""
    program = """
import sys
from models.architectures.registry import ARCHITECTURES, configure
images = ((1, 28, 28), (3, 32, 32), (3, 64, 64))
for name in ARCHITECTURES:
    architecture = configure(name)
    for shape in (((62, 5000),) if name == "lstm" else images):
        assert architecture.multiply_adds(shape) > 0
        assert architecture.parameters(shape, multi_rate=True) > 0
import models.annealing
assert "torch" not in sys.modules, "torch was imported"
"""
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_configuration_survives_json(name):
    """Options read back from JSON give an equal configuration, lists having become tuples again."""
    architecture = configure(name, latent_units=7)
    options = json.loads(json.dumps(asdict(architecture)))
    assert configure(name, **options) == architecture
    assert hash(configure(name, **options)) == hash(architecture)


def test_names_are_the_ones_of_the_registry():
    assert {name: architecture.name for name, architecture in ARCHITECTURES.items()} == {
        "mlp": "mlp",
        "conv": "conv",
        "resnet": "resnet",
        "linear": "linear",
        "tcvae-mlp": "tcvae-mlp",
        "lstm": "lstm",
    }


@pytest.mark.parametrize("name", ["conv", "resnet"])
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 28, 28), (1, 28, 27), (1, 32, 32), (64, 64, 3)])
def test_a_shape_without_a_table_is_refused_with_those_that_have_one(name, shape):
    """Checking, estimating and building all refuse, and say what is accepted."""
    architecture = configure(name)
    accepted = "1x28x28 or 3x32x32 or 3x64x64"
    message = f"'{name}' takes examples of shape {accepted}, not {'x'.join(map(str, shape))}"
    for attempt in (
        lambda: architecture.check_shape(shape),
        lambda: architecture.multiply_adds(shape),
        lambda: architecture.build(shape, "bernoulli", None),
    ):
        with pytest.raises(ValueError, match=message):
            attempt()


def test_an_mlp_takes_any_shape():
    configure("mlp").check_shape((3, 17, 5))


@pytest.mark.parametrize("latent_units", [0, -1, 2.0, "32", True])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_latent_units_must_be_a_count(name, latent_units):
    with pytest.raises(ValueError, match=r"latent_units is .*; it must be a whole number, 1 or more"):
        configure(name, latent_units=latent_units)


@pytest.mark.parametrize("hidden", [[], 256, "256", None])
def test_hidden_must_be_a_list_of_widths(hidden):
    with pytest.raises(ValueError, match=r"hidden is .*; it must be a list of layer widths"):
        configure("mlp", hidden=hidden)


@pytest.mark.parametrize("hidden", [[0], [16, 1.5], ["a"]])
def test_hidden_widths_must_be_counts(hidden):
    with pytest.raises(ValueError, match=r"a width in hidden is .*; it must be a whole number"):
        configure("mlp", hidden=hidden)


def test_an_unknown_option_is_a_type_error():
    with pytest.raises(TypeError, match="depth"):
        configure("resnet", depth=3)


@pytest.mark.parametrize("kernel", [4, 2, 0, 3.0, "3", True])
def test_the_multi_rate_output_kernel_is_the_authors_or_left_out(kernel):
    with pytest.raises(ValueError, match=r"multi_rate_output_kernel is .*; it must be 3, or null"):
        configure("resnet", multi_rate_output_kernel=kernel)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 64, 64)])
def test_the_authors_output_kernel_is_refused_where_both_their_models_have_one(shape):
    """Asking for a layer that the shape does not have is an error that names the option, for plain models too."""
    architecture = configure("resnet", multi_rate_output_kernel=3)
    described = "x".join(map(str, shape))
    message = f"multi_rate_output_kernel 3 is for examples of shape 3x32x32, not {described}"
    for attempt in (
        lambda: architecture.check_shape(shape),
        lambda: architecture.multiply_adds(shape),
        lambda: architecture.parameters(shape, multi_rate=True),
        lambda: architecture.build(shape, "squared-error", None),
    ):
        with pytest.raises(ValueError, match=message):
            attempt()


def test_the_authors_output_kernel_survives_json_and_tells_configurations_apart():
    """Identity is made of the options, so the two output layers must differ in them."""
    architecture = configure("resnet", multi_rate_output_kernel=3)
    architecture.check_shape((3, 32, 32))
    assert configure("resnet", **json.loads(json.dumps(asdict(architecture)))) == architecture
    assert architecture != configure("resnet")
