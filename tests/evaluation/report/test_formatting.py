import pytest

from evaluation.report import formatting as wording
from evaluation.statistics import Estimate


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.00"), (1.0, "1.00"), (23.456, "23.5"), (999.6, "1000"), (123456.0, "123456"),
        (1e6, "1.00e+06"),
        (-0.001234, "−0.00123"), (0.00001, "1.00e-05"), (float("nan"), "NaN"), (float("-inf"), "−inf"),
    ],
)  # fmt: skip
def test_significant_digits(value, text):
    assert wording.significant(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.424, "+0.42"), (-1.4, "−1.40"), (-0.001, "0.00"), (0.0, "0.00"), (-12.34, "−12.3")]
)
def test_differences_have_a_sign_unless_they_vanish(value, text):
    assert wording.difference(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 s"), (0.04, "0.04 s"), (0.45, "0.45 s"), (9.44, "9.4 s"), (59.4, "59 s"),
        (59.6, "1 min"), (200.0, "3 min 20 s"), (3599.0, "59 min 59 s"),
        (3599.6, "1 h"), (7500.0, "2 h 5 min"), (90_061.0, "25 h 1 min"),
    ],
)  # fmt: skip
def test_durations_in_two_units_at_most(seconds, text):
    assert wording.duration(seconds) == text


@pytest.mark.parametrize(("words", "text"), [(["a"], "a"), (["a", "b"], "a and b"), (["a", "b", "c"], "a, b and c")])
def test_lists(words, text):
    assert wording.listed(words) == text


def test_a_range_that_reads_the_same_is_one_number():
    assert wording.between([1.0001, 1.0002]) == "1.00"
    assert wording.between([3.0, 1.0, 2.0]) == "1.00 to 3.00"


@pytest.mark.parametrize(
    ("fraction", "text"), [(0.043, "+4.3 %"), (-0.0123, "−1.2 %"), (0.0, "+0.0 %"), (1.5, "+150 %")]
)
def test_changes_in_percent_have_a_sign(fraction, text):
    assert wording.percent_change(fraction) == text


@pytest.mark.parametrize(("value", "text"), [(0.1284, "+0.128"), (-0.02, "−0.020"), (0.0001, "0.000")])
def test_differences_of_shares_have_three_decimals(value, text):
    assert wording.share_difference(value) == text


def test_an_interval_is_written_only_where_there_is_one():
    assert wording.interval(Estimate(2.0, low=-1.0, high=3.0), wording.difference) == "−1.00 to +3.00"
    assert wording.interval(Estimate(2.0), wording.difference) == ""
