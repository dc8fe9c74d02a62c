import numpy as np
import pytest
import torch

from evaluation.metrics.linear_probe import linear_probe

LABELS = np.arange(300) % 3
CENTRES = np.array([[0.0, 4.0], [4.0, -4.0], [-4.0, -4.0]])
CLUSTERS = CENTRES[LABELS] + np.random.default_rng(0).standard_normal((300, 2))
XOR = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]).repeat(25, axis=0)


def probed(means, labels=LABELS, **options):
    """Return the probe with every other example in the test part."""
    half = np.arange(len(labels)) // 3 % 2 == 0
    return linear_probe(means[half], labels[half], means[~half], labels[~half], **options)


def test_what_lines_separate_is_told_apart():
    found = probed(CLUSTERS)
    assert found.accuracy == 1
    assert (found.classes, found.train_examples, found.test_examples) == (3, 150, 150)
    assert (found.converged, found.estimator) == (True, "logistic-regression-C1")


def test_what_no_line_separates_is_not():
    """Exclusive or: the probe measures what is linear in a code; balanced, its optimum knows nothing."""
    labels = np.array([0, 1, 1, 0]).repeat(25)
    found = linear_probe(XOR, labels, XOR, labels)
    assert found.accuracy <= 0.75
    assert probed(CLUSTERS).accuracy == 1


def test_a_constant_code_is_at_chance():
    """It names the commonest class: 50 of 150 test examples have it."""
    labels = np.where(np.arange(300) % 3 == 0, 1, 0)
    found = probed(np.zeros((300, 2)), labels)
    assert found.accuracy == found.chance == pytest.approx(2 / 3)


def test_units_are_standardised_by_the_training_part():
    """An affine map of each unit changes no prediction, though the penalty is on the weights."""
    noisy = CLUSTERS / 4 + np.random.default_rng(1).standard_normal((300, 2))
    moved = noisy * [1e-3, 1e3] + [5.0, -7.0]
    assert probed(moved).accuracy == probed(noisy).accuracy < 1


def test_the_test_part_is_not_learned_from():
    """Other labels in the test part: accuracy falls to what their agreement is."""
    shifted = (LABELS + 1) % 3
    assert linear_probe(CLUSTERS, LABELS, CLUSTERS, shifted).accuracy == 0
    unseen = np.full(300, 9)
    assert linear_probe(CLUSTERS, LABELS, CLUSTERS, unseen).accuracy == 0


def test_the_same_data_give_the_same_accuracy():
    noisy = CLUSTERS / 4
    assert probed(noisy) == probed(noisy)


def test_a_stronger_penalty_is_another_probe():
    """So strong that only the commonest class is named."""
    labels = np.where(np.arange(300) % 3 == 0, 1, 0)
    found = probed(CLUSTERS, labels, inverse_penalty=1e-9)
    assert found.estimator == "logistic-regression-C1e-09"
    assert found.accuracy == pytest.approx(found.chance)


def test_an_optimiser_that_was_cut_short_says_so():
    assert not probed(CLUSTERS, max_iterations=1).converged


def test_tensors_are_taken():
    assert probed(torch.tensor(CLUSTERS, dtype=torch.float32), torch.tensor(LABELS)).accuracy == 1


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="300 test means and 2 test labels"):
        linear_probe(CLUSTERS, LABELS, CLUSTERS, LABELS[:2])
    with pytest.raises(ValueError, match="training means of 2 units and test means of 1"):
        linear_probe(CLUSTERS, LABELS, CLUSTERS[:, :1], LABELS)
    with pytest.raises(ValueError, match="the training label has one value, 0, in all 300 examples"):
        linear_probe(CLUSTERS, LABELS * 0, CLUSTERS, LABELS)
