"""The multi-rate gates: their formula, their gradients and the β that reach them."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.gates import (
    GATE_ACTIVATIONS,
    Gate,
    GatedReLU,
    sample_log_uniform_beta,
    sqrt_relu,
    standardise_log_beta,
)

FORMULAS = {
    "sigmoid": lambda a: 1 / (1 + math.exp(-a)),
    "double-sigmoid": lambda a: 2 / (1 + math.exp(-a)),
    "sqrt-relu": lambda a: math.sqrt(max(0.0, 1 - math.exp(a))),
}


@pytest.mark.parametrize("name", GATE_ACTIVATIONS)
@given(a=st.floats(-30, 30))
def test_activation_is_the_formula_of_equation_7(name, a):
    """Each activation equals its formula in double precision."""
    found = GATE_ACTIVATIONS[name](torch.tensor([a], dtype=torch.float64)).item()
    assert found == pytest.approx(FORMULAS[name](a), abs=1e-12)


@pytest.mark.parametrize("name", GATE_ACTIVATIONS)
def test_gate_scales_each_feature_by_its_affine_map_of_the_condition(name):
    """Feature f of example b is multiplied by activation(w_f s_b + b_f), at every position."""
    gate = Gate(3, name).double()
    condition = torch.tensor([[-1.0], [0.5]], dtype=torch.float64)
    features = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    found = gate(features, condition)
    for example in range(2):
        for feature in range(3):
            affine = gate.weight[feature] * condition[example, 0] + gate.bias[feature]
            expected = FORMULAS[name](affine.item()) * features[example, feature]
            torch.testing.assert_close(found[example, feature], expected)


@pytest.mark.parametrize("layout", [(6,), (6, 3, 2)])
@pytest.mark.parametrize("name", GATE_ACTIVATIONS)
def test_gated_relu_and_its_gradients_are_those_of_relu_of_the_product(name, layout):
    """The memory-saving form has the value and the gradients of ReLU(gate * h), closed gates included."""
    torch.manual_seed(0)
    plain, fused = Gate(6, name).double(), GatedReLU(6, name).double()
    fused.load_state_dict(plain.state_dict())
    features = torch.randn(5, *layout, dtype=torch.float64)
    condition = torch.linspace(-2, 2, 5, dtype=torch.float64).unsqueeze(1)
    upstream = torch.randn(5, *layout, dtype=torch.float64)
    expected = torch.relu(plain(features.requires_grad_(), condition))
    # A copy, because it works in place, which autograd refuses on a leaf; in a network it is never given one.
    found = fused(features.clone(), condition)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(
        torch.autograd.grad(found, (features, fused.weight, fused.bias), upstream),
        torch.autograd.grad(expected, (features, plain.weight, plain.bias), upstream),
    )


def test_gated_relu_takes_no_memory_of_its_own():
    """Its output overwrites its input: a gated network stores as many activations as a plain one."""
    features = torch.randn(2, 4, 3)
    assert GatedReLU(4, "sigmoid")(features, torch.zeros(2, 1)).data_ptr() == features.data_ptr()


def affine_values_around_zero(dtype):
    """Return values at which the gate's slope is extreme: 0, its neighbours, and everything beyond."""
    zero, one = torch.zeros(1, dtype=dtype), torch.ones(1, dtype=dtype)
    below = [zero]
    for _ in range(20):
        below.append(torch.nextafter(below[-1], -one))
    above = torch.nextafter(zero, one)
    powers = (2.0 ** torch.arange(-140, 8)).to(dtype)
    ends = torch.tensor([math.inf, -math.inf, torch.finfo(dtype).max, torch.finfo(dtype).min], dtype=dtype)
    return torch.cat([*below, above, powers, -powers, ends])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("upstream", [0.0, 1.0])
def test_the_square_root_gate_has_finite_gradients_everywhere(dtype, upstream):
    """No a, however close to 0 or far from it, gives an infinite or undefined gradient."""
    a = affine_values_around_zero(dtype).requires_grad_()
    sqrt_relu(a).backward(torch.full_like(a, upstream))
    assert torch.isfinite(a.grad).all()


def test_the_steepest_slope_in_float32_is_2048():
    """Rounding keeps 1 - exp(a) at 2^-24 or more, so the slope stops at 1 / (2 * 2^-12)."""
    a = (-torch.logspace(-12, 0, 5000)).requires_grad_()
    sqrt_relu(a).sum().backward()
    assert a.grad.min().item() == pytest.approx(-2048, rel=1e-6)


def test_a_closed_gate_sends_no_gradient():
    """For a >= 0 the factor is 0 and so is its slope."""
    a = torch.tensor([0.0, 1e-30, 1.0, 200.0], requires_grad=True)
    factor = sqrt_relu(a)
    factor.sum().backward()
    assert factor.tolist() == [0, 0, 0, 0]
    assert a.grad.tolist() == [0, 0, 0, 0]


def test_a_sigmoid_gate_that_underflows_sends_no_gradient():
    """A factor that rounds to 0 gives gradients of 0 through the memory-saving form, not 0 / 0."""
    gate = GatedReLU(2, "sigmoid")
    torch.nn.init.constant_(gate.bias, -200)
    gate(torch.ones(3, 2), torch.zeros(3, 1)).sum().backward()
    assert gate.bias.grad.tolist() == [0, 0]


def test_half_of_the_decoder_gates_are_closed_at_initialisation():
    """With w, b ~ U(-1, 1) and s uniform, a is symmetric around 0 (so 0.50), and the mean factor is 0.312."""
    torch.manual_seed(0)
    condition = standardise_log_beta(sample_log_uniform_beta(500, 0.01, 10, None, "cpu"), 0.01, 10)
    factor = Gate(2000, "sqrt-relu").factor(condition)
    assert (factor == 0).float().mean().item() == pytest.approx(0.5, abs=0.02)
    assert factor.mean().item() == pytest.approx(0.312, abs=0.015)


def test_factors_are_computed_in_the_parameters_precision_under_autocast():
    """Autocast does not reach the affine map, and the product keeps the pre-activations' precision."""
    gate = Gate(4, "sqrt-relu")
    condition = torch.tensor([[0.3]])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(gate.factor(condition), sqrt_relu(condition * gate.weight + gate.bias))
        assert gate(torch.ones(1, 4, dtype=torch.bfloat16), condition).dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("low", "high", "beta", "expected"),
    [
        (0.01, 10, 1.0, 0.577350),
        (0.01, 10, 0.1, -0.577350),
        (0.1, 10, 0.1, -math.sqrt(3)),
        (1e-3, 10, 1.0, 0.866025),
        (1e-4, 10, 0.1, 0.346410),
    ],
)
def test_standardised_log_beta_has_the_known_values(low, high, beta, expected):
    """Five values worked out by hand."""
    assert standardise_log_beta(torch.tensor([beta]), low, high).item() == pytest.approx(expected, abs=1e-5)


@given(low=st.floats(1e-4, 1), width=st.floats(1.5, 1e4), outside=st.floats(1.01, 100))
def test_the_range_maps_to_its_ends_and_beyond(low, width, outside):
    """The range's ends map to -√3 and √3, and β outside of it to values outside: nothing is clamped."""
    high = low * width
    beta = torch.tensor([low, high, high * outside, low / outside], dtype=torch.float64)
    lowest, highest, above, below = standardise_log_beta(beta, low, high).tolist()
    assert (lowest, highest) == (pytest.approx(-math.sqrt(3)), pytest.approx(math.sqrt(3)))
    assert above > highest
    assert below < lowest


@settings(max_examples=20)
@given(low=st.floats(1e-4, 1), width=st.floats(1.5, 1e4))
def test_sampled_beta_are_log_uniform_and_standardise_to_variance_one(low, width):
    """Draws lie in the range (to rounding), and their standardised logarithms have mean 0 and variance 1."""
    high = low * width
    beta = sample_log_uniform_beta(20_000, low, high, torch.Generator().manual_seed(0), "cpu")
    assert beta.shape == (20_000, 1)
    assert beta.min() >= low * (1 - 1e-5)
    assert beta.max() <= high * (1 + 1e-5)
    standard = standardise_log_beta(beta, low, high)
    assert standard.mean().item() == pytest.approx(0, abs=0.03)
    assert standard.var().item() == pytest.approx(1, abs=0.03)


def test_the_same_generator_state_draws_the_same_beta():
    """β are a function of the generator alone."""
    first, second = (sample_log_uniform_beta(5, 0.01, 10, torch.Generator().manual_seed(3), "cpu") for _ in range(2))
    assert first.tolist() == second.tolist()
