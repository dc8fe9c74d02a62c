import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_fidelity.metric_isc import isc_features_to_metric

from evaluation.metrics.inception_score import ClassPredictions

SURE = 1000.0
"""A logit so far above 0 that the other classes have no probability left."""


def scored(logits, splits=1):
    return ClassPredictions.empty(splits).update(logits).score()


def test_sure_and_evenly_spread_classes_have_the_highest_score():
    """As many classes as there are, and no spread between the splits."""
    found = scored(SURE * np.eye(5)[np.arange(100) // 2 % 5], splits=2)
    assert found.value == pytest.approx(5, rel=1e-12)
    assert found.std == pytest.approx(0, abs=1e-12)
    assert (found.splits, found.examples, found.classes) == (2, 100, 5)


@pytest.mark.parametrize(
    "logits", [np.zeros((20, 4)), SURE * np.eye(4)[np.zeros(20, int)], np.tile([1.0, 2, 3], (20, 1))]
)
def test_what_tells_no_image_from_another_has_the_lowest_score(logits):
    """Unsure of all, sure of one class only, or the same prediction for all: 1."""
    assert scored(logits).value == pytest.approx(1, rel=1e-12)


def test_two_kinds_of_images_by_hand():
    """Predictions are (3/4, 1/4) for half of them and (1/4, 3/4) for the others: exp(ln 2 - H(1/4))."""
    logits = np.log([[3.0, 1.0], [1.0, 3.0]] * 10)
    entropy = -(0.75 * np.log(0.75) + 0.25 * np.log(0.25))
    assert scored(logits).value == pytest.approx(2 * np.exp(-entropy), rel=1e-12)


def test_the_splits_are_scored_apart():
    """Images go to the splits in turn: the mean and the standard deviation of the scores of every third."""
    logits = np.random.default_rng(0).standard_normal((30, 4)) * 2
    found = scored(logits, splits=3)
    each = [scored(logits[split::3]).value for split in range(3)]
    assert found.value == pytest.approx(np.mean(each), rel=1e-12)
    assert found.std == pytest.approx(np.std(each), rel=1e-9)
    assert scored(logits).std is None


def test_it_is_what_torch_fidelity_gives():
    """Its splits are runs of images, so that it is given every third, then the next ones."""
    logits = 3 * torch.randn(300, 20, generator=torch.Generator().manual_seed(0))
    runs = torch.cat([logits[split::3] for split in range(3)])
    expected = isc_features_to_metric(runs, splits=3, shuffle=False)
    found = scored(logits, splits=3)
    assert found.value == pytest.approx(expected["inception_score_mean"], rel=1e-10)
    assert found.std == pytest.approx(expected["inception_score_std"], rel=1e-6)


@given(st.lists(st.integers(0, 12), min_size=1, max_size=5), st.integers(1, 4))
@settings(max_examples=40)
def test_batches_change_nothing(sizes, splits):
    """Images go to the same splits, however they are cut into batches."""
    logits = np.random.default_rng(0).standard_normal((sum(sizes) + splits, 3))
    whole, cut = ClassPredictions.empty(splits).update(logits), ClassPredictions.empty(splits)
    for batch in np.split(logits, np.cumsum(sizes)):
        cut = cut.update(batch)
    np.testing.assert_array_equal(cut.counts, whole.counts)
    assert cut.score().value == pytest.approx(whole.score().value, rel=1e-12)


def test_merging_commutes_and_empty_changes_nothing():
    random = np.random.default_rng(0)
    one, other = (ClassPredictions.empty(2).update(random.standard_normal((10, 3))) for _ in range(2))
    assert one.merge(other).score() == other.merge(one).score()
    assert one.merge(ClassPredictions.empty(2)) is one
    assert ClassPredictions.empty(2).merge(one) is one
    assert one.update(np.zeros((0, 3))) is one


def test_an_offset_of_an_image_s_logits_changes_nothing():
    """Probabilities do not have it; large ones do not overflow."""
    logits = np.random.default_rng(0).standard_normal((10, 3))
    moved = logits + 1e4 * np.arange(10)[:, None]
    assert scored(moved).value == pytest.approx(scored(logits).value, rel=1e-9)


def test_tensors_are_taken():
    logits = torch.randn(10, 3, generator=torch.Generator().manual_seed(0))
    found = ClassPredictions.empty(2).update(logits).score()
    assert found == ClassPredictions.empty(2).update(logits.numpy()).score()


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="splits is 0"):
        ClassPredictions.empty(0)
    with pytest.raises(ValueError, match="2 images do not fill 3 splits"):
        scored(np.zeros((2, 2)), splits=3)
    with pytest.raises(ValueError, match=r"batch of logits: row 1, column 0 \(from 0\) is nan"):
        scored(np.array([[0.0], [np.nan]]))
    three = ClassPredictions.empty(2).update(np.zeros((2, 3)))
    with pytest.raises(ValueError, match="predictions of 3 and 4 classes"):
        three.update(np.zeros((2, 4)))
    with pytest.raises(ValueError, match="2 and 3 splits"):
        three.merge(ClassPredictions.empty(3))
