import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.references.equivalence import (
    Check,
    agrees,
    check_curve,
    check_difference,
    summary,
)


def line(level, *, rates=(0.0, 10.0, 20.0), slope=-1.0):
    """Return the curve D = level + slope · R."""
    return tuple((rate, level + slope * rate) for rate in rates)


def test_parallel_lines_are_as_far_apart_as_their_levels():
    found = check_curve("a", [line(51.0), line(53.0)], [line(50.0)], 10.0, "nats")
    assert found.outcome == "undecided"
    assert found.rates == (0.0, 20.0)
    assert found.distance.value == pytest.approx(2.0)
    assert found.distance.half_width == pytest.approx(6.313752 * math.sqrt(2) * math.sqrt(1.5), rel=1e-6)
    assert found.message.startswith(
        "+2.00 nats (90 % interval −8.94 to +12.9) over rates 0.00 to 20.0 nats, tolerance ±10; the largest gap is +2"
    )
    assert found.message.endswith("; the interval crosses the tolerance: more seeds make it narrower")


@given(st.floats(-50, 50))
@settings(deadline=None, max_examples=40)
def test_what_is_moved_is_as_far_as_it_was_moved(shift):
    reference = [line(100.0), line(101.0, rates=(1.0, 5.0, 30.0))]
    moved = [tuple((rate, distortion + shift) for rate, distortion in curve) for curve in reference]
    assert check_curve("a", moved, reference, 1.0, "nats").distance.value == pytest.approx(shift, abs=1e-9)


def test_a_curve_agrees_only_over_the_rates_that_all_have():
    """The straight part of what bends beyond: nothing is said of rates that one curve lacks."""
    bent = (*line(50.0), (100.0, 0.0))
    found = check_curve("a", [bent, bent], [line(50.0, rates=(5.0, 15.0))], 0.1, "nats")
    assert found.outcome == "passed"
    assert found.rates == (5.0, 15.0)


def test_curves_that_cross_are_told_by_their_largest_gap():
    """Their mean distance is 0: the rule passes them, and the message says what it cannot see."""
    steep, flat = line(60.0, slope=-2.0), line(50.0, slope=-1.0)
    found = check_curve("a", [steep, steep], [flat], 0.1, "nats")
    assert found.outcome == "passed"
    assert found.distance.value == pytest.approx(0.0, abs=1e-9)
    assert "the largest gap is +10.0 at the rate 0.00" in found.message


def test_agreement_on_a_corner_is_none():
    short = line(50.0, rates=(0.0, 4.0))
    found = check_curve("a", [short, short], [line(50.0)], 10.0, "nats")
    assert (found.outcome, found.distance) == ("failed", None)
    assert found.message == (
        "the curves share the rates 0.00 to 4.00 nats, 20 % of the reference's 0.00 to 20.0; a comparison needs 50 %"
    )


def test_half_of_the_rates_are_enough():
    half = line(50.0, rates=(0.0, 10.0))
    assert check_curve("a", [half, half], [line(50.0)], 1.0, "nats").outcome == "passed"


@pytest.mark.parametrize(
    ("curve", "reason"),
    [
        (line(50.0, rates=(30.0, 40.0)), "the curves share no rates: one starts at 30, another ends at 20 nats"),
        (((0.0, 50.0), (0.0, 49.0)), "a curve has only the rate 0 nats; an interval needs two different rates"),
        ((), "a curve has no finite point; an interval needs two different rates"),
    ],
)
def test_without_common_rates_a_check_fails_and_says_why(curve, reason):
    found = check_curve("a", [curve, curve], [line(50.0)], 10.0, "nats")
    assert (found.outcome, found.message, found.distance) == ("failed", reason, None)
    both = check_difference("a", [(curve, line(1.0))] * 2, [(line(50.0), line(1.0))], 10.0, "nats")
    assert (both.outcome, both.message, both.distance) == ("failed", reason, None)


def test_one_seed_each_is_undecided_and_asks_for_more():
    found = check_curve("a", [line(50.0)], [line(50.0)], 10.0, "nats")
    assert found.outcome == "undecided"
    assert found.message.endswith("one seed on each side gives no variance: train two seeds or more")


def test_differences_are_paired_by_seed():
    """What a seed does to both methods cancels: seeds 100 nats apart leave no spread at all."""
    here = [(line(100.0), line(103.0)), (line(200.0), line(203.0))]
    found = check_difference("a", here, [(line(50.0), line(51.0))], 2.0, "nats")
    assert found.outcome == "passed"
    assert (found.distance.value, found.distance.half_width) == (pytest.approx(-2.0), pytest.approx(0.0, abs=1e-9))
    assert "the methods differ by −3.00 here and by −1.00 in the reference" in found.message


def test_an_order_turned_round_fails():
    """1 nat better in the reference, 3 nats worse here."""
    here = [(line(53.0), line(50.0)), (line(54.0), line(51.0))]
    assert check_difference("a", here, [(line(50.0), line(51.0))], 2.0, "nats").outcome == "failed"


@pytest.mark.parametrize(
    ("outcomes", "text", "agreed"),
    [
        (["passed", "passed"], "2 passed", True),
        (["passed", "skipped"], "1 passed and 1 skipped", True),
        (["passed", "undecided", "failed"], "1 passed, 1 failed and 1 undecided", False),
        (["passed", "undecided"], "1 passed and 1 undecided", False),
        (["skipped"], "1 skipped", False),
    ],
)
def test_a_sweep_agrees_if_all_that_was_checked_passed(outcomes, text, agreed):
    """And something was."""
    found = [Check("a", each, "") for each in outcomes]
    assert (summary(found), agrees(found)) == (text, agreed)
