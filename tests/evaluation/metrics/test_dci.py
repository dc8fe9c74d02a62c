import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from evaluation.metrics.dci import completeness, dci, disentanglement

FACTORS = np.array(list(itertools.product(range(3), range(4)))).repeat(10, axis=0)
IMPORTANCES = arrays.arrays(np.float64, (4, 3), elements=st.floats(0, 1, allow_subnormal=False))


def measured(means, factors=FACTORS, **options):
    """Return the scores with every other example in the test part."""
    return dci(means[::2], factors[::2], means[1::2], factors[1::2], **{"seed": 0, "trees": 10, **options})


@pytest.mark.parametrize(
    ("importances", "expected"),
    [
        (np.eye(3), (1, 1)),
        (np.ones((3, 3)), (0, 0)),
        (np.zeros((3, 3)), (0, 0)),
        # Two units share a factor: H_3(1/2, 1/2, 0) = ln 2 / ln 3 of that factor, which has 2/3 of the importance.
        ([[1, 0], [1, 0], [0, 1]], (1, 1 - 2 / 3 * np.log(2) / np.log(3))),
        # A unit shares two factors; the other unit has a quarter of the importance and one factor.
        ([[1.5, 1.5], [1, 0]], (1 / 4, 1 - 2.5 / 4 * -(0.6 * np.log(0.6) + 0.4 * np.log(0.4)) / np.log(2))),
        # An unused unit weighs nothing.
        ([[1, 0], [0, 1], [0, 0]], (1, 1)),
        # One unit, or one factor, has all there is of it.
        ([[1, 1]], (0, 1)),
        ([[1], [1]], (1, 0)),
    ],
)
def test_scores_of_known_importances(importances, expected):
    matrix = np.array(importances, dtype=float)
    assert (disentanglement(matrix), completeness(matrix)) == pytest.approx(expected, abs=1e-12)


@given(IMPORTANCES, st.randoms(use_true_random=False), st.floats(0.01, 100))
@settings(max_examples=50)
def test_order_and_scale_change_nothing(importances, random, scale):
    permuted = scale * importances[random.sample(range(4), 4)][:, random.sample(range(3), 3)]
    for score in (disentanglement, completeness):
        assert score(permuted) == pytest.approx(score(importances), abs=1e-9)
        assert -1e-12 <= score(importances) <= 1 + 1e-12


def test_a_negative_importance_is_refused():
    with pytest.raises(ValueError, match="an importance is -1; give absolute values"):
        disentanglement(np.array([[1.0, -1.0]]))


def test_a_perfect_code_scores_1_everywhere():
    """Units are the factors in another order, beside one of noise."""
    noise = np.random.default_rng(0).standard_normal((len(FACTORS), 1))
    found = measured(np.hstack([FACTORS[:, ::-1], noise]))
    assert (found.disentanglement, found.completeness, found.informativeness) == pytest.approx((1, 1, 1), abs=1e-12)
    np.testing.assert_allclose(found.importances, [[0, 1], [1, 0], [0, 0]], atol=1e-12)


def test_a_rotated_code_tells_as_much_and_separates_less():
    """Sum and difference of two factors determine both, but each unit serves both."""
    found = measured(FACTORS @ np.array([[1.0, 1.0], [1.0, -1.0]]))
    assert found.informativeness == 1
    assert found.disentanglement < 0.3
    assert found.completeness < 0.3


def test_a_constant_code_is_at_chance():
    found = measured(np.zeros((len(FACTORS), 2)))
    assert (found.disentanglement, found.completeness) == (0, 0)
    assert found.accuracies == pytest.approx(found.chances) == (1 / 3, 1 / 4)
    assert found.informativeness == pytest.approx(7 / 24)


def test_the_result_says_what_it_depends_on():
    found = measured(FACTORS + 0.0)
    assert (found.train_examples, found.test_examples, found.estimator) == (60, 60, "random-forest-10")


def test_the_seed_decides_everything():
    means = FACTORS + np.random.default_rng(1).standard_normal(FACTORS.shape)
    first, again, other = measured(means), measured(means), measured(means, seed=1)
    np.testing.assert_array_equal(first.importances, again.importances)
    assert not np.array_equal(first.importances, other.importances)


def test_tensors_are_taken():
    means, factors = torch.tensor(FACTORS).float(), torch.tensor(FACTORS)
    assert measured(means, factors).disentanglement == pytest.approx(1, abs=1e-12)


def test_bad_arguments_are_refused():
    means = FACTORS.astype(float)
    with pytest.raises(ValueError, match="120 training means and 60 rows of training factors"):
        dci(means, FACTORS[:60], means, FACTORS, seed=0)
    with pytest.raises(ValueError, match="2 units in training and 1 in the test part"):
        dci(means, FACTORS, means[:, :1], FACTORS, seed=0)
    with pytest.raises(ValueError, match="2 factors in training and 1 in the test part"):
        dci(means, FACTORS, means, FACTORS[:, :1], seed=0)
    with pytest.raises(ValueError, match=r"factor 1 \(column, from 0\) of the training part has one value, 0"):
        dci(means, FACTORS * [1, 0], means, FACTORS, seed=0)
