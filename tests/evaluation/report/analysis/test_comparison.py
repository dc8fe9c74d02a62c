"""One run against every sweep: intervals, Bjøntegaard differences, the probability of improvement."""

import math
from dataclasses import replace

import pytest

from evaluation.curves import bd_distortion, bd_rate
from evaluation.report.analysis import comparison as module
from evaluation.report.analysis.summary import summarise
from evaluation.report.tables.comparison_tables import comparisons_by_seed, comparisons_table

RATES = (0.001, 2.0, 5.0, 10.0, 20.0, 30.0)


def curve(shift, *, scale=1.0):
    """Return (β, rate, distortion) of a falling curve, shifted up and with scaled rates; the first has collapsed."""
    return [(10 / (1 + rate), scale * rate, 50 + shift + 50 * math.exp(-rate / 10)) for rate in RATES]


def both(build, shift, *, seed=0, name="β-VAE, constant"):
    single = build.trial("MR-VAE", curve(0.0), seed=seed)
    return [single, *(build.trial(name, [point], seed=seed) for point in curve(shift))]


def compared(build, *trials):
    return summarise(build.sweep(*trials)).comparisons


def texts(table):
    return [dict(zip(table.columns, (cell.text for cell in row), strict=True)) for row in table.rows]


def test_intervals_are_of_whole_curves_paired_by_seed(build):
    """Differences of 1, 2 and 6 nats: of three seeds the 95 % interval is the range."""
    (found,) = compared(build, *both(build, 1.0), *both(build, 2.0, seed=1), *both(build, 6.0, seed=2))
    assert found.distortion.values == pytest.approx((-1.0, -2.0, -6.0), abs=0.01)
    estimate = found.distortion.estimate
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx((-3.0, -6.0, -1.0), abs=0.01)
    assert estimate.resamples == 27


def test_one_seed_has_numbers_and_no_interval(build):
    (found,) = compared(build, *both(build, 1.0))
    assert found.distortion.estimate.low is None
    assert found.improvement.value is None
    (row,) = texts(comparisons_table([found]))
    assert row["mean distortion, difference"] == "−1.00"
    assert row["remark"] == "no P(lower): a probability of improvement needs two or more seeds"


def test_bjontegaard_differences_leave_out_collapsed_points(build):
    """A model of 0.001 nats has no logarithm to speak of; the other points are what they are taken from."""
    (found,) = compared(build, *both(build, 1.0))
    anchor, test = ([(rate, distortion) for _, rate, distortion in curve(shift)[1:]] for shift in (1.0, 0.0))
    assert found.bd_distortion.values == (bd_distortion(anchor, test).value,)
    assert found.bd_distortion.values == pytest.approx((-1.0,))
    assert found.bd_rate.values == (bd_rate(anchor, test).value,)
    assert found.bd_overlap == 1.0


def test_a_bjontegaard_difference_that_is_not_defined_is_a_remark_and_no_column(build):
    (row,) = texts(comparisons_table(compared(build, *build.straight_pair())))
    assert "BD-rate" not in row
    assert "no BD-distortion and BD-rate: a curve has 2 points on its Pareto front" in row["remark"]


def test_the_probability_of_improvement_is_over_all_pairs_of_seeds(build):
    """Mean distortions of (m, m + 4) against (m + 1, m + 3): one of four pairs is lower for each of the runs' two."""
    trials = [*both(build, 1.0), *both(build, -1.0, seed=1)]
    trials = [
        replace(t, points=tuple(replace(p, distortion=p.distortion + 4) for p in t.points)) if t.seed else t
        for t in trials
    ]
    (found,) = compared(build, *trials)
    assert found.improvement.value == 0.5


def test_every_sweep_is_compared_and_the_strongest_first(build):
    weak, strong = both(build, 3.0, name="β-VAE, constant")[1:], both(build, 1.0, name="β-VAE, cyclic")
    found = compared(build, strong[0], *weak, *strong[1:])
    assert [(one.sweep, one.sweeps) for one in found] == [("β-VAE, cyclic", 2), ("β-VAE, constant", 2)]
    assert [one.distortion.estimate.value for one in found] == pytest.approx([-1.0, -3.0], abs=0.01)


def test_every_mr_vae_is_compared(build):
    trials = both(build, 1.0)
    wide = replace(trials[0], trial_id="wide", series="MR-VAE · hidden=512")
    found = compared(build, trials[0], wide, *trials[1:])
    assert [one.single for one in found] == ["MR-VAE", "MR-VAE · hidden=512"]


def test_more_pairs_than_there_is_room_for_are_counted(build, monkeypatch):
    monkeypatch.setattr(module, "MOST_PAIRS", 1)
    summary = summarise(build.sweep(*both(build, 3.0), *both(build, 1.0, name="β-VAE, cyclic")[1:]))
    assert [one.sweep for one in summary.comparisons] == ["β-VAE, cyclic"]
    assert any(sentence.endswith("are compared; 1 more are left out.") for sentence in summary.missing)


def test_all_seeds_are_shown(build):
    rows = texts(comparisons_by_seed(compared(build, *both(build, 1.0), *both(build, 2.0, seed=1))))
    assert [(row["seed"], row["mean distortion, difference"]) for row in rows] == [("0", "−1.00"), ("1", "−2.00")]


def test_mixed_units_leave_the_compute(build):
    single, *sweep = both(build, 1.0)
    single = replace(single, points=tuple(replace(point, distortion_unit="sse") for point in single.points))
    (row,) = texts(comparisons_table(compared(build, single, *sweep)))
    assert set(row) == {"method", "against", "times cheaper", "remark"}
    assert "distortions are in different units (nats and summed squared error)" in row["remark"]


def test_without_a_comparison_there_is_no_table(build):
    assert comparisons_table(compared(build, both(build, 1.0)[0])).rows == ()
