import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_fidelity.metric_kid import kernel_mmd

from evaluation.metrics.kernel_distance import kernel_distance


def drawn(seed, examples, features=4, shift=0.0):
    return np.random.default_rng(seed).standard_normal((examples, features)) + shift


def pair_by_pair(one, other):
    """Return the unbiased squared MMD, one pair at a time."""

    def kernel(x, y):
        return (float(x @ y) / len(x) + 1) ** 3

    within = [
        np.mean([kernel(x, y) for i, x in enumerate(points) for j, y in enumerate(points) if i != j])
        for points in (one, other)
    ]
    return sum(within) - 2 * np.mean([kernel(x, y) for x in one for y in other])


def test_two_points_on_a_line_by_hand():
    """k(x, y) = (xy + 1)³: pairs within {0, 1} have 1, within {2, 3} 343, between 1, 1, 27 and 64."""
    found = kernel_distance(np.array([[0.0], [1.0]]), np.array([[2.0], [3.0]]))
    assert found.value == pytest.approx(1 + 343 - 2 * (1 + 1 + 27 + 64) / 4, rel=1e-14)
    assert (found.subsets, found.subset_size, found.std) == (1, 2, None)


def test_it_is_the_mean_over_all_pairs():
    one, other = drawn(0, 12), drawn(1, 12, shift=0.5)
    assert kernel_distance(one, other).value == pytest.approx(pair_by_pair(one, other), rel=1e-12)


def test_it_is_what_torch_fidelity_gives_for_one_subset():
    one, other = drawn(0, 50, features=16), drawn(1, 50, features=16, shift=0.2)
    assert kernel_distance(one, other).value == pytest.approx(kernel_mmd(one, other), rel=1e-10)


def test_subsets_of_two_sets_average_to_the_whole():
    """Each subset is unbiased for all pairs of the two sets, so that the mean over many is near their value."""
    one, other = drawn(0, 60), drawn(1, 80, shift=1)
    found = kernel_distance(one, other, subsets=2000, subset_size=20)
    assert (found.subsets, found.subset_size, found.examples, found.reference_examples) == (2000, 20, 60, 80)
    standard_error = found.std / np.sqrt(2000)
    assert found.value == pytest.approx(pair_by_pair(one, other), abs=4 * standard_error)


def test_sets_from_one_distribution_are_at_no_distance_on_average():
    """The estimator is unbiased: over many draws its mean is 0 within its error, and many values are below 0."""
    values = [kernel_distance(drawn(2 * seed, 20), drawn(2 * seed + 1, 20)).value for seed in range(200)]
    assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(200)
    assert 0.2 < np.mean(np.array(values) < 0) < 0.9


def test_the_further_apart_the_larger():
    values = [kernel_distance(drawn(0, 100), drawn(1, 100, shift=shift)).value for shift in (0.0, 0.5, 1.0, 2.0)]
    assert values == sorted(values)


@given(st.permutations(range(10)))
@settings(max_examples=20)
def test_the_order_of_the_examples_changes_nothing(order):
    one, other = drawn(0, 10), drawn(1, 10, shift=1)
    expected = kernel_distance(one, other).value
    assert kernel_distance(one[list(order)], other).value == pytest.approx(expected, rel=1e-12)


def test_a_seed_gives_the_same_subsets_and_another_seed_others():
    one, other = drawn(0, 50), drawn(1, 50)
    first, again, else_ = (kernel_distance(one, other, subsets=3, subset_size=10, seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert first.value != else_.value


def test_subsets_are_as_large_as_the_smaller_set():
    """Where both sets are that large, there is only one subset to draw; else they differ."""
    alone = kernel_distance(drawn(0, 30), drawn(1, 30), subset_size=1000)
    assert (alone.subsets, alone.subset_size) == (1, 30)
    sweep_comparison = kernel_distance(drawn(0, 30), drawn(1, 40), subsets=5, subset_size=1000)
    assert (sweep_comparison.subsets, sweep_comparison.subset_size) == (5, 30)
    assert sweep_comparison.std > 0


def test_tensors_are_taken():
    one, other = drawn(0, 10).astype(np.float32), drawn(1, 10).astype(np.float32)
    assert kernel_distance(torch.from_numpy(one), torch.from_numpy(other)) == kernel_distance(one, other)


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="2 and 3 features cannot be compared"):
        kernel_distance(np.zeros((5, 2)), np.zeros((5, 3)))
    with pytest.raises(ValueError, match="100 subsets of 1 examples"):
        kernel_distance(np.zeros((5, 2)), np.zeros((1, 2)))
    with pytest.raises(ValueError, match="0 subsets of 5 examples"):
        kernel_distance(np.zeros((5, 2)), np.zeros((5, 2)), subsets=0)
    with pytest.raises(ValueError, match=r"the reference features: row 1, column 0 \(from 0\) is nan"):
        kernel_distance(np.zeros((2, 1)), np.array([[0.0], [np.nan]]))
