"""The compute frontier of a report, and what is said of it."""

from dataclasses import replace

import pytest

from evaluation.report.analysis import comparison
from evaluation.report.analysis.summary import summarise
from evaluation.report.content.contents import Stage
from evaluation.report.rendering.html import render_html
from evaluation.report.tables.text_tables import methods_table


def at_seconds(trial, seconds, distortions):
    """Return what the trial had reached after so many seconds: its points at other distortions."""
    points = tuple(replace(p, distortion=d) for p, d in zip(trial.points, distortions, strict=True))
    return Stage(round(seconds), seconds, points)


@pytest.fixture
def pair(build):
    """A run of 10 s that is 1 nat better than two β-VAEs of 20 s, and 1 nat worse than at its end after 5 s.

    The reference is (33, 99): of 3267, the two β-VAEs reach 3 · 29 and 23 · 9, together 267; the run reaches as much
    after 5 s, and 290 at its end. After 1 s it is beyond the reference.
    """
    single, *sweep = build.straight_pair()
    along = (at_seconds(single, 1.0, (200, 200, 200)), at_seconds(single, 5.0, (70.0, 80.0, 90.0)))
    return [replace(single, along=along), *sweep]


def frontiers(build, trials, **changes):
    return summarise(build.sweep(*trials, **changes)).comparison.frontiers


def steps(line):
    return [(step.device_seconds, step.quality) for step in line.frontier.steps]


def test_a_run_counts_as_it_was_measured_at_the_sweeps_betas(build, pair):
    """Its point at β = 1 takes no part: it would be a third one."""
    (line,) = frontiers(build, pair).single
    assert steps(line) == [(5.0, pytest.approx(267 / 3267)), (10.0, pytest.approx(290 / 3267))]
    assert line.reached_by == ("after 5 epochs", "after training")


def test_a_sweep_counts_as_its_best_subsets(build, pair):
    (line,) = frontiers(build, pair).sweep
    assert steps(line) == [(20.0, pytest.approx(207 / 3267)), (40.0, pytest.approx(267 / 3267))]
    assert line.reached_by == ("with β 10", "with β 0.1 and 10")


def test_equal_quality_and_equal_compute(build, pair):
    """The run takes 5 s for what takes the sweep 40 s; for its 10 s none of the β-VAEs can be trained."""
    found = summarise(build.sweep(*pair)).comparison
    assert found.equal_quality.values == (8.0,)
    assert found.equal_compute.values == pytest.approx((290 / 3267,))


def test_seeds_are_paired_and_have_no_interval(build, pair):
    """8 and 4 times less: 32 ** 0.5 in the mean. Their reference point depends on all seeds."""
    found = summarise(build.sweep(*pair, *build.straight_pair(seed=1))).comparison.equal_quality
    assert found.values == (8.0, 4.0)
    assert found.estimate.value == pytest.approx(32**0.5)
    assert (found.estimate.low, found.estimate.high) == (None, None)


def test_only_training_that_became_the_result_counts(build, pair):
    """Neither evaluation nor a failed attempt, half of whose training a later one took over."""
    single, one, other = pair
    costs = (
        build.cost(6.0, outcome="failed", images=200),
        build.cost(3.0, attempt=2, images=100),
        build.cost(50.0, phase="evaluate", attempt=2),
    )
    one = replace(one, costs=costs, history=(build.epoch(1, images=200),))
    (line,) = frontiers(build, [single, one, other]).sweep
    assert line.frontier.device_seconds == 6.0 / 2 + 3.0 + 20.0


def test_a_run_that_was_measured_at_its_end_only_says_so(build):
    summary = summarise(build.sweep(*build.straight_pair()))
    assert summary.comparison.frontiers.states == 1
    assert any("MR-VAE was evaluated only after training" in sentence for sentence in summary.missing)
    assert [line.reached_by for line in summary.comparison.frontiers.single] == [("after training",)]


def test_measurements_at_other_betas_or_on_other_examples_are_left_out_and_counted(build, pair):
    """An evaluation that changed after training measures the end alone."""
    single, *sweep = pair
    early, late = single.along
    fewer = replace(early, points=early.points[1:])
    others = replace(late, points=tuple(replace(point, examples=7) for point in late.points))
    summary = summarise(build.sweep(replace(single, along=(fewer, others)), *sweep))
    assert summary.comparison.frontiers.left_out == 2
    assert steps(summary.comparison.frontiers.single[0]) == [(10.0, pytest.approx(290 / 3267))]
    assert any("2 measurements during training cannot be compared" in sentence for sentence in summary.missing)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            lambda build, _trial: {"costs": (build.cost(10.0, device="H200"),)},
            "the trials were trained on different kinds of device (H200 and cpu), and there is no calibration of H200 "
            "and cpu",
        ),
        (lambda _build, _trial: {"costs": ()}, "no device time of training is recorded for 1 trial"),
        (lambda _build, trial: {"points": trial.points[:1]}, "fewer than two methods have a complete curve"),
    ],
)
def test_what_cannot_be_drawn_is_said_where_it_would_stand(build, pair, changes, reason):
    single, *sweep = pair
    record = build.sweep(replace(single, **changes(build, single)), *sweep)
    summary = summarise(record)
    assert summary.comparison.frontiers.reason == reason
    assert f"The compute frontier is not shown: {reason}." in summary.missing
    assert f"Not shown: {reason}." in render_html(record, summary, {})
    assert summary.comparison.equal_quality.reason == summary.comparison.equal_compute.reason == reason


def test_times_on_calibrated_devices_are_converted_to_the_slowest(build, pair):
    """An H200 of ten times a CPU's speed: 10 s there are 100 s, for all that was measured on the way too."""
    single, *sweep = pair
    single = replace(single, costs=(build.cost(10.0, device="H200"),))
    summary = summarise(build.sweep(single, *sweep, speeds={"H200": 10.0, "cpu": 1.0}))
    assert [seconds for seconds, _ in steps(summary.comparison.frontiers.single[0])] == [50.0, 100.0]
    assert summary.comparison.equal_quality.values == (40 / 50,)
    assert "converted by calibration: 1 s on H200 as 10.00 s on cpu" in summary.tiles[0].text
    assert summary.tiles[3].text == "training time per image: the trials ran on different kinds of device"


def test_a_beta_vae_that_diverged_was_paid_for_and_gives_nothing(build, pair):
    single, one, other = pair
    third = build.trial("β-VAE, constant", [(1.0, float("nan"), float("nan"))], seconds=7.0)
    (line,) = frontiers(build, [single, one, other, third]).sweep
    assert (line.frontier.device_seconds, line.frontier.points) == (47.0, 3)
    assert steps(line)[-1] == (40.0, pytest.approx(267 / 3267))


def test_the_best_subsets_of_very_many_beta_vaes_are_not_looked_for(build, pair, monkeypatch):
    """What the headline needs is looked for first."""
    monkeypatch.setattr(comparison, "MOST_WORK", 2**3)
    others = [build.trial("β-VAE, cyclic", [(b, r, 105.0 - r)]) for b, r in ((0.1, 30.0), (10.0, 10.0))]
    first, second = summarise(build.sweep(*pair, *others)).comparisons
    assert (first.sweep, first.frontiers.reason) == ("β-VAE, constant", "")
    assert second.frontiers.reason == "the search for the best subsets of 2 β-VAEs per seed would take too long"


def test_the_methods_table_is_what_it_was(build, pair):
    """What sets one method against another stands in a table of its own."""
    columns = methods_table(summarise(build.sweep(*pair)).series).columns
    assert "BD-rate" not in columns
