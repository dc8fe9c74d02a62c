import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from evaluation.metrics.psnr import PeakSignalToNoiseRatio

IMAGES = arrays.arrays(np.float64, st.tuples(st.integers(1, 8), st.just(4)), elements=st.floats(0, 0.9))


def test_an_error_of_a_tenth_everywhere_is_20_db():
    psnr = PeakSignalToNoiseRatio.empty().update(np.zeros((2, 1, 3, 3)), np.full((2, 1, 3, 3), 0.1))
    assert psnr.decibels == pytest.approx(20.0, abs=1e-12)


def test_the_mean_is_over_images_and_not_of_errors():
    """Errors of 0.1 and 0.01 are 20 and 40 dB: 30 dB in the mean, 22.97 dB for their mean squared error."""
    psnr = PeakSignalToNoiseRatio.empty().update(torch.zeros(2, 5), torch.tensor([[0.1] * 5, [0.01] * 5]))
    assert psnr.decibels == pytest.approx(30.0, abs=1e-4)


@given(IMAGES, st.data())
@settings(max_examples=30)
def test_batches_and_their_order_change_nothing(images, data):
    order = list(data.draw(st.permutations(range(len(images)))))
    cut = data.draw(st.integers(0, len(images)))
    noisy = images + np.linspace(0.01, 0.1, len(images))[:, None]
    whole = PeakSignalToNoiseRatio.empty().update(images, noisy)
    parts = PeakSignalToNoiseRatio.empty()
    for part in np.split(np.array(order), [cut]):
        parts = parts.update(images[part], noisy[part])
    assert parts.decibels == pytest.approx(whole.decibels, rel=1e-12)


def test_merging_empty_changes_nothing():
    psnr = PeakSignalToNoiseRatio.empty().update(np.zeros((1, 2)), np.ones((1, 2)))
    assert psnr.merge(PeakSignalToNoiseRatio.empty()) == psnr == PeakSignalToNoiseRatio.empty().merge(psnr)


def test_no_error_is_infinite():
    assert PeakSignalToNoiseRatio.empty().update(np.zeros((1, 2)), np.zeros((1, 2))).decibels == math.inf


def test_images_of_bytes_are_refused():
    """PSNR of images in 0 to 255 against a peak of 1 would be wrong by 48 dB."""
    with pytest.raises(ValueError, match=r"range from 0 to 255"):
        PeakSignalToNoiseRatio.empty().update(np.array([[0.0, 255.0]]), np.zeros((1, 2)))


def test_shapes_must_agree():
    with pytest.raises(ValueError, match="must have one"):
        PeakSignalToNoiseRatio.empty().update(np.zeros((2, 3)), np.zeros((2, 1)))


def test_no_images_have_no_mean():
    with pytest.raises(ValueError, match="no images"):
        _ = PeakSignalToNoiseRatio.empty().decibels
