import math

import pytest

from evaluation.metrics.bits_per_dimension import bits_per_dimension


def test_one_bit_a_pixel():
    assert bits_per_dimension(700 * math.log(2), 84 * math.log(2), 784) == pytest.approx(1.0, rel=1e-14)


def test_a_uniform_byte_is_eight_bits():
    assert bits_per_dimension(3072 * math.log(256), 0.0, 3072) == pytest.approx(8.0, rel=1e-14)


def test_nothing_has_no_dimensions():
    with pytest.raises(ValueError, match="0 dimensions"):
        bits_per_dimension(1.0, 1.0, 0)
