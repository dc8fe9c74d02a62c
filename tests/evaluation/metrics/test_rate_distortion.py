import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from evaluation.metrics.rate_distortion import RateDistortion

EXAMPLES = arrays.arrays(
    np.float64,
    st.tuples(st.integers(1, 30), st.just(3)),
    elements=st.floats(0, 1e4, allow_subnormal=False),
)


def of(examples):
    """The first column is distortion, the others are the rates of two layers."""
    return RateDistortion.empty().update(examples[:, 0], examples[:, 1:])


def test_means_and_elbo():
    totals = RateDistortion.empty().update(np.array([10.0, 20.0]), np.array([[1.0, 2.0], [3.0, 4.0]]))
    assert (totals.distortion, totals.rates_nats, totals.rate_nats) == (15.0, (2.0, 3.0), 5.0)
    assert totals.elbo == -20.0
    assert totals.examples == 2


@given(EXAMPLES, st.data())
@settings(max_examples=50)
def test_batches_and_their_order_change_nothing(examples, data):
    order = list(data.draw(st.permutations(range(len(examples)))))
    cut = data.draw(st.integers(0, len(examples)))
    first, second = (of(part) for part in np.split(examples[order], [cut]))
    for merged in (first.merge(second), second.merge(first)):
        np.testing.assert_allclose(
            [merged.distortion, *merged.rates_nats], examples.mean(axis=0), rtol=1e-12, atol=1e-12
        )


@given(EXAMPLES)
@settings(max_examples=20)
def test_merging_empty_changes_nothing(examples):
    totals = of(examples)
    assert totals.merge(RateDistortion.empty()) is totals
    assert RateDistortion.empty().merge(totals) is totals


def test_single_precision_batches_are_summed_in_double():
    """In float32, 2^24 + 1 is 2^24."""
    totals = of(np.array([[2.0**24, 0, 0]]))
    totals = totals.update(torch.ones(1), torch.zeros(1, 2))
    assert totals.distortion_sum == 2**24 + 1


def test_not_a_number_is_not_hidden():
    assert np.isnan(of(np.array([[np.nan, 1, 1]])).distortion)


def test_no_examples_have_no_mean():
    with pytest.raises(ValueError, match="no examples"):
        _ = RateDistortion.empty().distortion


def test_batches_of_two_sizes_are_refused():
    with pytest.raises(ValueError, match="2 distortions and 3 rates"):
        RateDistortion.empty().update(np.zeros(2), np.zeros((3, 1)))


def test_other_numbers_of_layers_do_not_merge():
    with pytest.raises(ValueError, match="2 and 1 latent layers"):
        of(np.zeros((1, 3))).update(np.zeros(1), np.zeros((1, 1)))
