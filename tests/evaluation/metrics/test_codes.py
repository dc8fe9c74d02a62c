import numpy as np
import pytest
import torch

from evaluation.metrics.codes import (
    require_same_length,
    require_variation,
    to_classes,
    to_finite,
    to_log_variances,
)


def test_tensors_and_arrays_become_the_same():
    tensor = torch.tensor([[1.0, 2.0]], dtype=torch.bfloat16, requires_grad=True)
    np.testing.assert_array_equal(to_finite(tensor, "means"), [[1.0, 2.0]])
    for labels in (torch.tensor([1, 2], dtype=torch.uint8), np.array([1, 2], dtype=np.int32)):
        classes = to_classes(labels, "labels", 1)
        np.testing.assert_array_equal(classes, [1, 2])
        assert classes.dtype == np.int64


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_found_by_row_and_column(value):
    means = np.zeros((3, 2))
    means[2, 1] = value
    with pytest.raises(ValueError, match=rf"the means: row 2, column 1 \(from 0\) is {value}"):
        to_finite(means, "the means")


@pytest.mark.parametrize("shape", [(0, 3), (3, 0)])
def test_nothing_cannot_be_measured(shape):
    with pytest.raises(ValueError, match="nothing to measure"):
        to_finite(np.zeros(shape), "the means")


def test_variances_that_overflow_are_refused():
    assert to_log_variances(np.array([[-100.0, 100.0]])).tolist() == [[-100.0, 100.0]]
    with pytest.raises(ValueError, match=r"row 1, column 0 \(from 0\) is -800"):
        to_log_variances(np.array([[0.0, 1.0], [-800.0, 0.0]]))


def test_classes_are_integers():
    with pytest.raises(ValueError, match="the labels are float64; number their values"):
        to_classes(np.zeros(3), "the labels", 1)


@pytest.mark.parametrize("shape", [(3, 1), (0,)])
def test_classes_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match="the labels have the shape"):
        to_classes(np.zeros(shape, dtype=np.int64), "the labels", 1)


def test_other_numbers_of_examples_are_refused():
    with pytest.raises(ValueError, match="3 means and 2 labels"):
        require_same_length("means", [1, 2, 3], "labels", [1, 2])


def test_one_value_is_no_variation():
    require_variation(np.array([0, 1]), "the label")
    with pytest.raises(ValueError, match="the label has one value, 7, in all 2 examples"):
        require_variation(np.array([7, 7]), "the label")
