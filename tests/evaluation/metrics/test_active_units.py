import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from evaluation.metrics.active_units import ActiveUnits

MEANS = arrays.arrays(
    np.float64,
    st.tuples(st.integers(2, 40), st.just(3)),
    elements=st.floats(-100, 100, allow_subnormal=False),
)


def gathered(batches):
    accumulator = ActiveUnits.empty()
    for batch in batches:
        accumulator = accumulator.update(batch)
    return accumulator


def test_counts_the_units_whose_variance_is_above_delta():
    """Variances 1, 0.01 and 0 against δ = 0.01: a variance equal to δ is not active."""
    means = np.array([[1.0, 0.1, 5.0], [-1.0, -0.1, 5.0]]) / np.sqrt(2)
    accumulator = ActiveUnits.empty().update(means)
    np.testing.assert_allclose(accumulator.variances(), [1.0, 0.01, 0.0], rtol=1e-14)
    assert accumulator.active_units(0.5) == 1
    assert accumulator.active_units(0.005) == 2


@given(MEANS, st.data())
@settings(max_examples=50)
def test_batches_and_their_order_change_nothing(means, data):
    """Any split of any permutation has the variance that numpy has of the whole."""
    cuts = sorted(data.draw(st.lists(st.integers(0, len(means)), max_size=4)))
    order = data.draw(st.permutations(range(len(means))))
    variances = gathered(np.split(means[list(order)], cuts)).variances()
    np.testing.assert_allclose(variances, means.var(axis=0, ddof=1), rtol=1e-9, atol=1e-9)


@given(MEANS, MEANS)
@settings(max_examples=30)
def test_merging_commutes(one, other):
    first, second = ActiveUnits.empty().update(one), ActiveUnits.empty().update(other)
    np.testing.assert_allclose(first.merge(second).variances(), second.merge(first).variances(), rtol=1e-9, atol=1e-9)


def test_merging_empty_changes_nothing():
    accumulator = ActiveUnits.empty().update(np.array([[1.0], [2.0]]))
    assert accumulator.merge(ActiveUnits.empty()) is accumulator
    assert ActiveUnits.empty().merge(accumulator) is accumulator


def test_a_far_mean_costs_no_precision():
    """Sums of squares would lose a variance of 1e-4 around a mean of 1e6; deviations do not."""
    means = 1e6 + 0.01 * np.tile([[-1.0], [1.0]], (500, 1))
    variance = gathered(np.split(means, 10)).variances()[0]
    assert variance == pytest.approx(1e-4 * 1000 / 999, rel=1e-6)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_tensors_of_any_precision_are_taken(precision):
    tensor = torch.tensor([[1.0], [3.0]], dtype=precision, requires_grad=True)
    assert ActiveUnits.empty().update(tensor).variances() == [2.0]


def test_one_example_has_no_variance():
    with pytest.raises(ValueError, match="needs 2 examples; there are 1"):
        ActiveUnits.empty().update(np.zeros((1, 2))).variances()


@pytest.mark.parametrize("shape", [(3,), (3, 2, 1)])
def test_a_batch_of_another_shape_is_refused(shape):
    with pytest.raises(ValueError, match="must have 2 dimensions"):
        ActiveUnits.empty().update(np.zeros(shape))


def test_other_numbers_of_units_do_not_merge():
    with pytest.raises(ValueError, match="2 and 3 units"):
        ActiveUnits.empty().update(np.zeros((2, 2))).update(np.zeros((2, 3)))
