"""One run against every sweep: intervals, equal rates, costs, Bjøntegaard differences."""

import math
from dataclasses import replace

import pytest

from evaluation.curves import bd_distortion, bd_rate
from evaluation.report.analysis import comparison as module
from evaluation.report.analysis.summary import summarise
from evaluation.report.tables.comparison_tables import comparisons_by_seed, comparisons_table
from evaluation.statistics import mean_estimate

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


def test_intervals_are_of_differences_paired_by_seed(build):
    """Differences of 1, 2 and 6 nats, with Student's t of two degrees of freedom."""
    (found,) = compared(build, *both(build, 1.0), *both(build, 2.0, seed=1), *both(build, 6.0, seed=2))
    assert found.distortion.values == pytest.approx((-1.0, -2.0, -6.0), abs=0.01)
    assert found.distortion.estimate == mean_estimate(found.distortion.values)
    assert found.distortion.estimate.seeds == (3,)


def test_one_seed_has_numbers_and_no_interval(build):
    (found,) = compared(build, *both(build, 1.0))
    assert found.distortion.estimate.low is None
    (row,) = texts(comparisons_table([found]))
    assert row["distortion, equal rates"] == "−1.00"


def test_distortion_is_compared_at_the_sweeps_betas(build):
    """Further points of the MR-VAE, however low, change nothing."""
    single, *sweep = both(build, 1.0)
    more = replace(build.trial("MR-VAE", [*curve(0.0), (0.7, 12.0, 1.0)]), betas=single.betas)
    (before,), (after,) = compared(build, single, *sweep), compared(build, more, *sweep)
    assert after.equal_rates == before.equal_rates
    assert after.equal_rates.same_betas


def test_other_betas_than_the_sweeps_are_a_warning(build):
    _, *sweep = both(build, 1.0)
    other = build.trial("MR-VAE", [(1.1 * beta, rate, distortion) for beta, rate, distortion in curve(0.0)])
    summary = summarise(build.sweep(other, *sweep))
    assert not summary.comparison.equal_rates.same_betas
    assert summary.comparison.distortion.values == pytest.approx((-1.0,), abs=0.01)
    assert any("has no finite point at one or more β values of the sweep" in warning for warning in summary.warnings)


def test_betas_beyond_the_range_of_the_run_are_no_fault(build):
    """The run reaches the rates from 2 to 20 of the sweep's 0.001 to 30."""
    _, *sweep = both(build, 1.0)
    short = build.trial("MR-VAE", curve(0.0)[1:5])
    (found,) = compared(build, short, *sweep)
    assert found.equal_rates.same_betas
    assert found.equal_rates.rates == (2.0, 20.0)
    assert found.equal_rates.reached == pytest.approx((18 / 29.999,))


def test_a_run_may_reach_the_rates_at_other_betas(build):
    """At the sweep's β it has half of the rates; at a smaller β, that it was trained for, all of them."""
    sweep = [build.trial("β-VAE, constant", [point]) for point in curve(1.0)]
    lower = [(beta / 2, rate, distortion) for beta, rate, distortion in curve(0.0)]
    at_same_betas = [(beta, rate / 2, 50 + 50 * math.exp(-rate / 20)) for beta, rate, _ in curve(0.0)]
    (short,) = compared(build, build.trial("MR-VAE", at_same_betas), *sweep)
    (whole,) = compared(build, build.trial("MR-VAE", [*at_same_betas, lower[-1]]), *sweep)
    assert (short.equal_rates.same_betas, whole.equal_rates.same_betas) == (True, True)
    assert short.equal_rates.reached[0] < 0.51
    assert whole.equal_rates.reached[0] == pytest.approx(1.0)


def test_points_beyond_the_range_of_training_do_not_count(build):
    """A run can be evaluated there, and was not made for it."""
    single, *sweep = both(build, 1.0)
    beyond = build.trial("MR-VAE", [*curve(0.0), (1e-6, 40.0, 1.0)])
    (before,) = compared(build, single, *sweep)
    (after,) = compared(build, replace(beyond, betas=single.betas), *sweep)
    assert after.equal_rates == before.equal_rates


def test_a_run_between_two_betas_of_the_sweep_is_compared_by_all_of_its_points(build):
    """There is none at the sweep's β, and none could be."""
    sweep = [build.trial("β-VAE, constant", [point]) for point in ((0.01, 30.0, 70.0), (10.0, 10.0, 90.0))]
    run = build.trial("MR-VAE", [(0.1, 25.0, 74.0), (1.0, 15.0, 84.0)])
    (found,) = compared(build, run, *sweep)
    assert not found.equal_rates.same_betas
    assert found.distortion.values == pytest.approx((-1.0,))


def test_straight_lines_are_compared_too(build):
    """On a convex curve a chord is above it, and most above a curve of few points."""
    points = curve(0.0)
    sparse = [build.trial("β-VAE, constant", [point]) for point in (points[0], points[3], points[5])]
    dense = build.trial("MR-VAE", [(3 * beta, rate, distortion) for beta, rate, distortion in points])
    (found,) = compared(build, dense, *sparse)
    assert found.equal_rates.straight < found.distortion.values[0] < 0


def test_costs_are_cpu_time_where_all_have_it(build):
    """20 s of CPU time against 2 × 30 s; by elapsed time 10 s against 2 × 20 s."""
    single, *sweep = build.straight_pair()
    timed = [with_cpu(single, 20.0), *(with_cpu(trial, 30.0) for trial in sweep)]
    cost = compared(build, *timed)[0].cost
    assert (cost.clock, cost.ratio.values, cost.by_device_time) == ("CPU time", (3.0,), pytest.approx(4.0))
    assert cost.seconds == pytest.approx((20.0, 60.0))
    # A trial of an earlier release has none.
    cost = compared(build, *timed[:2], sweep[1])[0].cost
    assert (cost.clock, cost.ratio.values, cost.seconds) == ("device time", (4.0,), pytest.approx((10.0, 40.0)))


def test_times_that_disagree_are_a_warning(build):
    single, *sweep = build.straight_pair()
    busy = summarise(build.sweep(with_cpu(single, 20.0), *(with_cpu(trial, 30.0) for trial in sweep)))
    assert busy.warnings[0].startswith("Elapsed time and CPU time disagree: the sweep costs 4.0 times the run by")
    idle = summarise(build.sweep(with_cpu(single, 10.0), *(with_cpu(trial, 20.5) for trial in sweep)))
    assert not any("disagree" in warning for warning in idle.warnings)


def with_cpu(trial, seconds):
    return replace(trial, costs=tuple(replace(cost, cpu_seconds=seconds) for cost in trial.costs))


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


def test_a_series_that_cannot_be_ranked_changes_neither_the_rival_nor_the_answer(build):
    """One β-VAE for each seed is no curve; the best of the others is still the rival."""
    weak, strong = both(build, 20.0, name="β-VAE, constant")[1:], both(build, 1.0, name="β-VAE, cyclic")
    alone = build.trial("β-VAE, monotonic", curve(0.0)[2:3])
    before, after = compared(build, *strong, *weak)[0], compared(build, *strong, *weak, alone)[0]
    assert (before.sweep, before.sweeps) == (after.sweep, after.sweeps) == ("β-VAE, cyclic", 2)


def test_a_beta_vae_that_diverged_was_not_replaced(build):
    """The run equals the others; of the diverged one nothing is known."""
    trials = [trial for seed in (0, 1) for trial in build.straight_pair(seed=seed, lower_by=0.1 * seed)]
    lost = [build.trial("β-VAE, constant", [(0.05, math.nan, math.nan)], seed=seed) for seed in (0, 1)]
    assert summarise(build.sweep(*trials)).headline.startswith("Yes")
    summary = summarise(build.sweep(*trials, *lost))
    assert summary.headline.startswith("Undecided")
    assert any(
        "2 β-VAEs of the sweep, over all seeds, ended without a finite rate" in text for text in summary.warnings
    )


def test_a_seed_without_common_rates_leaves_the_share_of_the_others(build):
    far = build.trial("MR-VAE", [(0.1, 90.0, 10.0), (10.0, 80.0, 20.0)], seed=1)
    trials = [*build.straight_pair(), far, *build.straight_pair(seed=1)[1:]]
    assert compared(build, *trials)[0].equal_rates.reached == (1.0, 0.0)


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
    assert [(row["seed"], row["distortion, equal rates"]) for row in rows] == [("0", "−1.00"), ("1", "−2.00")]


def test_mixed_units_leave_the_compute(build):
    single, *sweep = both(build, 1.0)
    single = replace(single, points=tuple(replace(point, distortion_unit="sse") for point in single.points))
    (row,) = texts(comparisons_table(compared(build, single, *sweep)))
    assert set(row) == {"method", "against", "times cheaper", "remark"}
    assert "distortions are in different units (nats and summed squared error)" in row["remark"]


def test_without_a_comparison_there_is_no_table(build):
    assert comparisons_table(compared(build, both(build, 1.0)[0])).rows == ()
