"""KL annealing schedules."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.annealing import ANNEALINGS, annealing_weight

PROGRESS = st.floats(0, 1, exclude_max=True)


@given(kind=st.sampled_from(sorted(ANNEALINGS)), progress=PROGRESS)
def test_the_weight_is_a_fraction(kind, progress):
    """No schedule leaves [0, 1]."""
    assert 0 <= annealing_weight(kind, progress) <= 1


@given(progress=PROGRESS)
def test_constant_is_always_one(progress):
    assert annealing_weight("constant", progress) == 1


@pytest.mark.parametrize(("progress", "expected"), [(0, 0), (0.15, 0.5), (0.29, 0.29 / 0.3), (0.3, 1), (0.99, 1)])
def test_monotonic_rises_over_the_first_thirty_percent(progress, expected):
    assert annealing_weight("monotonic", progress) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("progress", "expected"),
    [(0, 0), (1 / 16, 0.5), (1 / 8, 1), (0.2, 1), (0.25, 0), (0.5 + 1 / 16, 0.5), (0.99, 1)],
)
def test_cyclic_has_four_cycles_that_rise_over_their_first_half(progress, expected):
    assert annealing_weight("cyclic", progress) == pytest.approx(expected)


@given(progress=st.floats(0, 0.75, exclude_max=True))
def test_cyclic_repeats_every_quarter(progress):
    """A quarter later the weight is the same, except where rounding falls across a cycle's end."""
    position = progress * 4 % 1
    if 1e-9 < position < 1 - 1e-9:
        later = annealing_weight("cyclic", progress + 0.25)
        assert later == pytest.approx(annealing_weight("cyclic", progress), abs=1e-6)


@pytest.mark.parametrize("progress", [-0.1, 1.0, float("nan")])
def test_progress_outside_of_training_is_refused(progress):
    with pytest.raises(ValueError, match="must be 0 or more and below 1"):
        annealing_weight("constant", progress)
