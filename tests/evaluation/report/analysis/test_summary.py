import math
from dataclasses import replace

import pytest

from evaluation.report.analysis.summary import summarise


def headline(build, *trials, **changes):
    return summarise(build.sweep(*trials, **changes)).headline


def seeds(build, *numbers, **changes):
    return [trial for number in numbers for trial in build.straight_pair(seed=number, **changes)]


def test_compute_and_quality_are_said_together(build):
    """Two β-VAEs of 20 s each against one run of 10 s, on parallel lines 1 nat apart over rates 10 to 30."""
    assert headline(build, *build.straight_pair()) == (
        "For equal quality, one MR-VAE run takes 4.0 times less training than the sweep of 2 β-VAEs. The whole run "
        "costs 4.0 times less than the whole sweep and its mean distortion is 1.00 nats lower over rates 10.0 to 30.0 "
        "(one seed, no interval)."
    )


@pytest.mark.parametrize(
    ("single_seconds", "training", "cost"),
    [
        (10.0, "takes 4.0 times less training than the sweep", "costs 4.0 times less than the whole sweep"),
        (60.0, "takes 1.5 times more training than the sweep", "costs 1.5 times more than the whole sweep"),
        (40.0, "takes as much training as the sweep", "costs as much as the whole sweep"),
        (39.0, "takes as much training as the sweep", "costs as much as the whole sweep"),
        (0.1, "takes 400 times less training than the sweep", "costs 400 times less than the whole sweep"),
    ],
)
def test_compute_in_either_direction(build, single_seconds, training, cost):
    text = headline(build, *build.straight_pair(single_seconds=single_seconds))
    assert training in text
    assert cost in text


def test_quality_that_the_one_run_does_not_reach_is_not_called_equal(build):
    """Areas of 497 and 520 below (33, 110): 95 % of the sweep's best takes both of its β-VAEs, 40 s for 10 s."""
    text = headline(build, *build.straight_pair(lower_by=-1.0))
    assert text.startswith(
        "For 95 % of the sweep’s best quality, one MR-VAE run takes 4.0 times less training than the sweep of 2 β-VAEs."
    )


@pytest.mark.parametrize(
    ("lower_by", "words"),
    [
        (0.42, "its mean distortion is 0.42 nats lower over"),
        (-0.42, "its mean distortion is 0.42 nats higher over"),
        (0.0, "its mean distortion is the same within 0.01 nats over"),
        (0.004, "its mean distortion is the same within 0.01 nats over"),
        (12.34, "its mean distortion is 12.3 nats lower over"),
    ],
)
def test_quality_in_either_direction(build, lower_by, words):
    assert words in headline(build, *build.straight_pair(lower_by=lower_by))


def test_several_seeds_have_their_interval(build):
    """Of two seeds it is their range: each of the four resamples has a weight above 2.5 %."""
    trials = build.straight_pair(seed=0, lower_by=-1.0) + build.straight_pair(seed=1, lower_by=-3.0, single_seconds=8.0)
    text = headline(build, *trials)
    assert "costs 4.5 times less (4.0 to 5.0) than" in text
    assert "is 2.00 nats higher (+1.00 to +3.00) over" in text
    assert text.endswith(" (95 % intervals over 2 seeds).")
    assert "one seed" not in text


def test_an_interval_on_both_sides_shows_its_signs(build):
    trials = build.straight_pair(seed=0, lower_by=-0.5) + build.straight_pair(seed=1, lower_by=1.5)
    assert "is 0.50 nats lower (−1.50 to +0.50) over" in headline(build, *trials)


def test_an_interval_of_more_compute_is_of_more(build):
    trials = build.straight_pair(seed=0, single_seconds=80.0) + build.straight_pair(seed=1, single_seconds=160.0)
    assert "costs 2.8 times more (2.0 to 4.0) than" in headline(build, *trials)


def test_squared_error_is_not_called_nats(build):
    trials = [
        replace(trial, points=tuple(replace(point, distortion_unit="sse") for point in trial.points))
        for trial in build.straight_pair()
    ]
    assert "its mean distortion is 1.00 lower in summed squared error over rates" in headline(build, *trials)


def test_a_difference_that_only_coarse_interpolation_makes_is_owned_up_to(build):
    """At the sweep's two β the MR-VAE is worse; over all its β it looks better."""
    single = build.trial("MR-VAE", [(0.1, 30.0, 71.0), (1.0, 20.0, 50.0), (10.0, 10.0, 91.0)])
    text = headline(build, single, *build.straight_pair()[1:])
    assert "nats lower over rates 10.0 to 30.0 but 1.00 higher only at the sweep’s β values" in text


def test_the_strongest_of_several_sweeps_is_the_rival(build):
    weaker, stronger = (
        [build.trial(name, [(0.1, 30.0, 70.0 - by)]), build.trial(name, [(10.0, 10.0, 90.0 - by)])]
        for name, by in (("β-VAE, constant", 0.0), ("β-VAE, cyclic", 3.0))
    )
    text = headline(build, build.straight_pair()[0], *weaker, *stronger)
    assert "the sweep of 2 β-VAEs (β-VAE, cyclic, the best of 2 series)" in text
    assert "2.00 nats higher" in text


def test_nothing_is_compared_while_trials_are_open(build):
    single, one, other = build.straight_pair()
    failed = replace(one, state="failed", points=(), message="loss is NaN at step 812")
    pending = replace(other, state="pending", points=(), costs=())
    summary = summarise(build.sweep(single, failed, pending))
    assert summary.headline == "No comparison yet: 2 of 3 trials are not done (1 failed and 1 pending)."
    assert summary.tiles == ()
    assert summary.comparison is None
    assert "β-VAE, constant, β 0.1, seed 0 failed after 1 attempt: loss is NaN at step 812" in summary.missing
    assert any(sentence.startswith("1 trial is not finished") for sentence in summary.missing)


def test_no_finished_trial(build):
    trials = [replace(trial, state="pending", points=(), costs=()) for trial in build.straight_pair()]
    assert headline(build, *trials) == "No trial has finished yet: 3 pending."


def test_no_trial_at_all(build):
    assert headline(build) == "The sweep has no trials."


def test_one_method_alone_is_said_to_be_alone(build):
    single, *sweep = build.straight_pair()
    assert headline(build, single).startswith("Only MR-VAEs were trained (1 trial)")
    assert headline(build, *sweep).startswith("Only β-VAEs were trained (2 trials)")


def test_seeds_must_match(build):
    trials = [*build.straight_pair(seed=0), build.straight_pair(seed=1)[0]]
    assert headline(build, *trials) == "No comparison yet: β-VAE, constant has no seed 1, but other series do."


def test_mixed_units_are_not_compared(build):
    single, *sweep = build.straight_pair()
    sweep = [replace(t, points=tuple(replace(p, distortion_unit="sse") for p in t.points)) for t in sweep]
    summary = summarise(build.sweep(single, *sweep))
    assert "their distortion cannot be compared: distortions are in different units" in summary.headline
    assert summary.scale.unit is None
    assert all(seed.mean_distortion is None for one in summary.series for seed in one.seeds)


def test_mixed_splits_are_not_compared(build):
    single, *sweep = build.straight_pair()
    single = replace(single, points=tuple(replace(point, split="validation") for point in single.points))
    assert "points are of different splits (test and validation)" in headline(build, single, *sweep)


def test_other_devices_leave_the_quality(build):
    single, *sweep = build.straight_pair()
    single = replace(single, costs=(build.cost(10.0, device="H200"),))
    assert headline(build, single, *sweep) == (
        "The compute of one MR-VAE run and the sweep of 2 β-VAEs cannot be compared: the trials ran on different "
        "kinds of device (H200 and cpu); to convert their times, run “mrvae-orch doctor --calibrate” with this store "
        "on H200 and cpu; the mean distortion of the one run is 1.00 nats lower over rates 10.0 to 30.0 (one seed, no "
        "interval)."
    )


def test_neither_comparable_is_said_once(build):
    single, *sweep = build.straight_pair()
    single = replace(single, costs=(build.cost(10.0, device="H200"),), points=single.points[:1])
    text = headline(build, single, *sweep)
    assert text.startswith("One MR-VAE run and the sweep of 2 β-VAEs cannot be compared: the trials ran on")
    assert text.endswith("; 1 point without two different rates is no curve.")


def test_curves_without_common_rates_leave_the_compute(build):
    single = build.trial("MR-VAE", [(0.1, 90.0, 10.0), (1.0, 80.0, 20.0)])
    text = headline(build, single, *build.straight_pair()[1:])
    assert text.startswith("One MR-VAE run costs 4.0 times less than the sweep of 2 β-VAEs")
    assert text.endswith("cannot be compared: the curves share no rates: one starts at 80, another ends at 30 nats.")


def test_a_point_that_is_not_a_number_is_reported_and_left_out(build):
    single, one, other = build.straight_pair()
    broken = replace(one, points=(replace(one.points[0], distortion=math.nan),))
    summary = summarise(build.sweep(single, broken, other))
    assert "cannot be compared" in summary.headline
    (sentence,) = [sentence for sentence in summary.missing if "not finite" in sentence]
    assert sentence.startswith("β-VAE, constant, β 0.1, seed 0: rate 30.0 and distortion NaN at β 0.1")


def test_summaries_of_a_curve(build):
    """Lines over rates 10 to 30: the reference is 33 × 99, and areas are sums of rectangles."""
    summary = summarise(build.sweep(*build.straight_pair()))
    single, sweep = (one.seeds[0] for one in summary.series)
    assert summary.scale.rates == (10.0, 30.0)
    assert summary.scale.reference == (33.0, 99.0)
    assert (single.mean_distortion, sweep.mean_distortion) == pytest.approx((79.0, 80.0))
    assert sweep.hypervolume == pytest.approx((20 * 9 + 3 * 29) / (33 * 99))
    assert single.hypervolume == pytest.approx((10 * 10 + 10 * 20 + 3 * 30) / (33 * 99))
    assert single.hypervolume_same_betas == pytest.approx((20 * 10 + 3 * 30) / (33 * 99))


def test_an_incomplete_curve_has_no_summary(build):
    """An interval that moves as trials finish would be read as a result."""
    single, one, other = build.straight_pair()
    summary = summarise(build.sweep(single, one, replace(other, state="running", points=())))
    assert summary.scale.rates is None
    assert [one.seeds[0].mean_distortion for one in summary.series] == [None, None]
    assert summary.series[1].seeds[0].reason == "1 of 2 trials done"


def test_the_tiles_state_overheads(build):
    """A training image of 11 ms against 10 ms, first epochs apart, and 101 against 100 parameters."""
    single, *sweep = build.straight_pair()
    single = replace(single, parameters=101, history=(build.epoch(1, seconds=9.0), build.epoch(2, seconds=1.1)))
    sweep = [
        replace(trial, parameters=100, history=(build.epoch(1, seconds=5.0), build.epoch(2, seconds=1.0)))
        for trial in sweep
    ]
    tile = summarise(build.sweep(single, *sweep)).tiles[4]
    assert (tile.value, tile.text) == ("+10 %", "training time per image, relative to a β-VAE; +1.0 % parameters")


def test_tiles_say_why_there_is_no_number(build):
    single, *sweep = build.straight_pair()
    single = replace(single, costs=(build.cost(10.0, device="H200"),), points=single.points[:1])
    tiles = summarise(build.sweep(single, *sweep)).tiles
    assert [tile.value for tile in tiles] == ["–"] * 6
    assert "different kinds of device" in tiles[1].text
    assert "no curve" in tiles[2].text


def test_many_failures_are_counted_and_not_all_listed(build):
    failed = [replace(build.trial("β-VAE", [(beta, 1.0, 1.0)]), state="failed") for beta in range(1, 9)]
    missing = summarise(build.sweep(*failed)).missing
    assert sum("failed after" in sentence for sentence in missing) == 5
    assert "3 more trials failed; the table of trials has all messages." in missing


def test_metrics_that_were_not_measured_are_named_with_the_command(build):
    missing = summarise(build.sweep(*build.straight_pair(), name="digits")).missing
    expected = "3 finished trials have no active units; “mrvae-orch evaluate digits” adds them without training."
    assert expected in missing


def test_metrics_that_failed_are_said_once_for_each_cause(build):
    """With the command that evaluates again; no other sentence says that they are missing."""
    text = "active_units failed: ValueError: one example has no variance"
    failed = {"active_units": text, "pictures": "pictures failed: ValueError: too large"}
    trials = [replace(build.trial("β-VAE", [(beta, 1.0, 1.0)]), failed_metrics=failed) for beta in (1, 2, 3)]
    missing = summarise(build.sweep(*trials, name="digits")).missing
    how = "“mrvae-orch retry digits --failed” evaluates again without training."
    assert f"β-VAE, β 1, seed 0 and 2 other trials: {text}; {how}" in missing
    assert f"β-VAE, β 1, seed 0 and 2 other trials: pictures failed: ValueError: too large; {how}" in missing
    assert not any("mrvae-orch evaluate" in sentence for sentence in missing)


def test_notes_of_the_caller_are_kept(build):
    assert summarise(build.sweep(notes=("FID is not shown.",))).missing == ("FID is not shown.",)
