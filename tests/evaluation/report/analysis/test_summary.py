import math
from dataclasses import replace

import pytest

from evaluation.report.analysis.summary import summarise


def headline(build, *trials, **changes):
    return summarise(build.sweep(*trials, **changes)).headline


def seeds(build, *numbers, **changes):
    return [trial for number in numbers for trial in build.straight_pair(seed=number, **changes)]


def test_the_answer_the_costs_and_the_quality_are_said_together(build):
    """Two β-VAEs of 20 s each against one run of 10 s, on parallel lines 1 nat apart over rates 10 to 30."""
    assert headline(build, *build.straight_pair()) == (
        "Undecided whether one MR-VAE run replaces the sweep of 2 β-VAEs: it costs 10 s of device time against 40 s. "
        "At equal rates its distortion is 1.00 nats lower (1 seed, no interval), over 100 % of the sweep’s "
        "rates."
    )


@pytest.mark.parametrize(
    ("lower_by", "words"),
    [
        (0.42, "its distortion is 0.42 nats lower (1 seed"),
        (-0.42, "its distortion is 0.42 nats higher (1 seed"),
        (0.0, "its distortion is the same within 0.01 nats (1 seed"),
        (0.004, "its distortion is the same within 0.01 nats (1 seed"),
        (12.34, "its distortion is 12.3 nats lower (1 seed"),
    ],
)
def test_quality_in_either_direction(build, lower_by, words):
    assert words in headline(build, *build.straight_pair(lower_by=lower_by))


@pytest.mark.parametrize(
    ("lower_by", "single_seconds", "answer", "rule"),
    [
        ((0.0, 0.1), (10.0, 11.0), "Yes, one", ""),
        ((9.0, 9.5), (10.0, 11.0), "Yes, one", ""),
        ((-4.0, -4.1), (10.0, 11.0), "No, one", " Not met: distortion."),
        ((0.0, 0.1), (60.0, 61.0), "No, one", " Not met: cost."),
        ((-4.0, -4.1), (60.0, 61.0), "No, one", " Not met: distortion and cost."),
        ((-2.0, 2.0), (10.0, 11.0), "Undecided whether", " Not decided: distortion."),
        ((0.0, 0.1), (10.0, 60.0), "Undecided whether", " Not decided: cost."),
        ((0.0, 0.1), (40.0, 40.0), "No, one", " Not met: cost."),
    ],
)
def test_the_answer_is_by_the_stated_rule(build, lower_by, single_seconds, answer, rule):
    """The tolerance is 3 % of 80 nats; two seeds have the quantile of one degree of freedom."""
    trials = [
        trial
        for seed, (by, seconds) in enumerate(zip(lower_by, single_seconds, strict=True))
        for trial in build.straight_pair(seed=seed, lower_by=by, single_seconds=seconds)
    ]
    summary = summarise(build.sweep(*trials))
    assert summary.headline.startswith(answer)
    assert summary.rule.endswith(f"by one-sided t-tests at 5 %.{rule}")


def test_a_run_that_does_not_reach_the_rates_does_not_replace_the_sweep(build):
    """Equal where it is measured, but that is half of the rates."""
    _, *sweep = build.straight_pair(lower_by=0.0)
    short = build.trial("MR-VAE", [(1.0, 20.0, 80.0), (10.0, 10.0, 90.0)])
    summary = summarise(build.sweep(short, *sweep))
    assert summary.headline.startswith("No, one MR-VAE run does not replace the sweep")
    assert summary.headline.endswith("over 50 % of the sweep’s rates.")
    assert " Not met: rates. Not decided: distortion and cost." in summary.rule


def test_several_seeds_have_their_interval(build):
    """t(0.975, 1) = 12.7, for differences of 1 and 3 nats."""
    trials = build.straight_pair(seed=0, lower_by=-1.0) + build.straight_pair(seed=1, lower_by=-3.0)
    text = headline(build, *trials)
    assert "is 2.00 nats higher (95 % interval −10.7 to +14.7, 2 seeds)" in text
    assert "1 seed" not in text


def test_costs_are_the_geometric_means_of_the_seeds(build):
    """80 and 160 s: what a reader divides is the ratio of the tile."""
    trials = build.straight_pair(seed=0, single_seconds=80.0) + build.straight_pair(seed=1, single_seconds=160.0)
    summary = summarise(build.sweep(*trials))
    assert "it costs 1 min 53 s of device time against 40 s" in summary.headline
    assert summary.tiles[0].value == "2.8×"
    assert summary.tiles[0].text.startswith("more device time than the sweep, 1 min 53 s against 40 s; 95 % interval")


def test_squared_error_is_not_called_nats(build):
    trials = [
        replace(trial, points=tuple(replace(point, distortion_unit="sse") for point in trial.points))
        for trial in build.straight_pair()
    ]
    summary = summarise(build.sweep(*trials))
    assert "its distortion is 1.00 lower" in summary.headline
    assert summary.tiles[1].text.startswith("distortion (summed squared error) at equal rates, 1.2 % lower")


def test_a_difference_that_the_interpolation_makes_is_a_warning(build):
    """Chords are above the curve of few points, a cubic less so; the MR-VAE is half-way between the two."""
    rates = (1.0, 2.0, 5.0, 10.0, 20.0, 30.0)

    def summary(shift):
        curve = [(10 / rate, rate, 50 + 50 * math.exp(-rate / 10)) for rate in rates]
        few = [build.trial("β-VAE, constant", [curve[index]]) for index in (0, 2, 3, 5)]
        run = build.trial("MR-VAE", [(3 * beta, rate, distortion + shift) for beta, rate, distortion in curve])
        return summarise(build.sweep(run, *few))

    found = summary(0.0).comparison.equal_rates
    between = -(found.straight + found.distortion.values[0]) / 2
    assert found.straight + between < 0 < found.distortion.values[0] + between
    assert any("it depends on the interpolation" in warning for warning in summary(between).warnings)
    assert not any("it depends on the interpolation" in warning for warning in summary(5.0).warnings)


def test_too_few_points_are_a_warning(build):
    assert any(
        "A curve has 2 points on its lower envelope." in warning
        for warning in summarise(build.sweep(*build.straight_pair())).warnings
    )


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
    assert "Their distortion cannot be compared: distortions are in different units" in summary.headline
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
        "Undecided whether one MR-VAE run replaces the sweep of 2 β-VAEs: their cost cannot be compared (the trials "
        "ran on different kinds of device (H200 and cpu); to convert their times, run “mrvae-orch doctor --calibrate” "
        "with this store on H200 and cpu). At equal rates its distortion is 1.00 nats lower (1 seed, no "
        "interval), over 100 % of the sweep’s rates."
    )


def test_neither_comparable_has_both_reasons(build):
    single, *sweep = build.straight_pair()
    single = replace(single, costs=(build.cost(10.0, device="H200"),), points=single.points[:1])
    text = headline(build, single, *sweep)
    assert "their cost cannot be compared (the trials ran on" in text
    assert text.endswith("Their distortion cannot be compared: 1 point without two different rates is no curve.")


def test_curves_without_common_rates_leave_the_compute(build):
    single = build.trial("MR-VAE", [(0.1, 90.0, 10.0), (1.0, 80.0, 20.0)])
    text = headline(build, single, *build.straight_pair()[1:])
    assert text.startswith("No, one MR-VAE run does not replace the sweep of 2 β-VAEs: it costs 10 s of device time")
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
    """A training image of 0.1 s against 0.2 s, and 101 against 100 parameters."""
    single, *sweep = build.straight_pair()
    single = replace(single, parameters=101, history=(build.epoch(1), build.epoch(2, images=0)))
    sweep = [replace(trial, parameters=100, history=(build.epoch(1),)) for trial in sweep]
    tile = summarise(build.sweep(single, *sweep)).tiles[3]
    assert tile.value == "−50 %"
    assert tile.text == "device time of training per image, relative to a β-VAE; +1.0 % parameters"


def test_the_tiles_say_what_is_better_where_the_interval_says_so(build):
    def better(*lower_by, **changes):
        trials = [
            each for seed, by in enumerate(lower_by) for each in build.straight_pair(seed=seed, lower_by=by, **changes)
        ]
        return [tile.better for tile in summarise(build.sweep(*trials)).tiles]

    assert better(-1.0, -1.01) == [True, False, None, None]
    assert better(1.0, 1.01, single_seconds=80.0) == [False, True, None, None]
    assert better(1.0, -1.0)[1] is None
    assert better(1.0) == [None] * 4


def test_tiles_say_why_there_is_no_number(build):
    single, *sweep = build.straight_pair()
    single = replace(single, costs=(build.cost(10.0, device="H200"),), points=single.points[:1])
    tiles = summarise(build.sweep(single, *sweep)).tiles
    assert [tile.value for tile in tiles] == ["–"] * 4
    assert "different kinds of device" in tiles[0].text
    assert "no curve" in tiles[1].text


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
