from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.compute import (
    Run,
    convert,
    device_seconds,
    spent,
    times_cheaper,
    times_cheaper_with_choice,
    total,
)
from evaluation.records import Cost


def finished(*costs, images=None):
    return Run("t", True, costs, images)


def test_device_seconds_are_seconds_times_devices(build):
    run = finished(build.cost(10.0, devices=4.0), build.cost(3.0, phase="evaluate", devices=0.5))
    assert device_seconds(spent(run), useful=True) == {"cpu": 41.5}


def test_a_lost_attempt_of_a_gang_cost_all_its_devices(build):
    """Four ranks were killed and three went on: each attempt counts with the devices that it held."""
    run = finished(
        build.cost(9.0, outcome="killed", images=900, devices=4.0),
        build.cost(1.0, outcome="killed", phase="data", devices=4.0),
        build.cost(2.0, attempt=2, images=400, devices=3.0),
        images=1000,
    )
    assert device_seconds(spent(run), useful=True) == {"cpu": pytest.approx(9.0 * 4 * 600 / 900 + 2.0 * 3)}
    assert device_seconds(spent(run), useful=False) == {"cpu": pytest.approx(9.0 * 4 * 300 / 900 + 4.0)}


def test_failed_attempts_are_apart(build):
    run = finished(build.cost(7.0, outcome="failed"), build.cost(10.0, attempt=2))
    assert device_seconds(spent(run), useful=True) == {"cpu": 10.0}
    assert device_seconds(spent(run), useful=False) == {"cpu": 7.0}


def test_work_that_was_repeated_is_lost(build):
    """The second attempt trained on every image itself: the first was for nothing."""
    run = finished(build.cost(7.0, outcome="killed", images=600), build.cost(10.0, attempt=2, images=1000), images=1000)
    assert device_seconds(spent(run), useful=True) == {"cpu": 10.0}
    assert device_seconds(spent(run), useful=False) == {"cpu": 7.0}


def test_work_that_was_taken_over_from_a_checkpoint_counts(build):
    """900 images were trained before the kill, 800 of them kept: a resumed trial must not look cheap."""
    run = finished(
        build.cost(9.0, outcome="killed", images=900, flops=90.0),
        build.cost(1.0, outcome="killed", phase="data"),
        build.cost(2.0, attempt=2, images=200, flops=20.0),
        images=1000,
    )
    pieces = spent(run)
    assert device_seconds(pieces, useful=True) == {"cpu": pytest.approx(10.0)}
    assert device_seconds(pieces, useful=False) == {"cpu": pytest.approx(2.0)}
    assert sum(piece.flops for piece in pieces if piece.useful and piece.flops) == pytest.approx(100.0)


def test_without_a_history_all_training_counts(build):
    run = finished(build.cost(9.0, outcome="interrupted", images=900), build.cost(2.0, attempt=2, images=200))
    assert device_seconds(spent(run), useful=True) == {"cpu": 11.0}


def test_what_an_unfinished_trial_spent_is_lost(build):
    run = Run("t", False, (build.cost(5.0), build.cost(2.0, outcome="running", attempt=2)))
    assert device_seconds(spent(run), useful=False) == {"cpu": 7.0}
    assert device_seconds(spent(run), useful=True) == {}


def test_device_kinds_are_never_added(build):
    pieces = spent(finished(build.cost(10.0), build.cost(3.0, device="H200")))
    assert device_seconds(pieces, useful=True) == {"cpu": 10.0, "H200": 3.0}
    assert len(total(pieces)) == 2


@given(
    st.lists(
        st.tuples(st.floats(0.01, 1e5), st.integers(0, 1000), st.sampled_from(["done", "failed", "killed"])),
        max_size=6,
    ),
    st.integers(0, 5000),
    st.booleans(),
)
def test_nothing_spent_is_dropped_or_counted_twice(build_rows, images, is_finished):
    """Useful and lost seconds add up to all seconds, whatever happened."""
    run = Run("t", is_finished, tuple(row(*values) for values in build_rows), images)
    pieces = spent(run)
    assert sum(piece.seconds for piece in pieces) == pytest.approx(sum(values[0] for values in build_rows), rel=1e-9)
    assert all(piece.seconds >= 0 for piece in pieces)


def row(seconds, images, outcome):
    return Cost("t", 1, "train", outcome, seconds, "cpu", 1.0, images, None, None, None, 0.0, "here")


def test_flops_that_nothing_counted_are_unknown_and_not_zero(build):
    (piece,) = spent(finished(build.cost(1.0)))
    assert piece.flops is None


def test_times_cheaper_counts_training_and_evaluation(build):
    """Set-up is paid by whichever trial a worker process runs first, so it is not held against that trial."""
    single = [finished(build.cost(8.0), build.cost(2.0, phase="evaluate"))]
    sweep = [
        finished(build.cost(15.0), build.cost(1.0, phase="compile")),
        finished(build.cost(4.0, devices=6.0)),
    ]
    assert times_cheaper(single, sweep).value == 3.9


def test_failed_attempts_do_not_make_the_other_side_look_cheap(build):
    failed = build.cost(100.0, outcome="failed", images=0)
    sweep = [finished(failed, build.cost(20.0, images=10, attempt=2), images=10)]
    assert times_cheaper([finished(build.cost(10.0))], sweep).value == 2.0


@pytest.mark.parametrize("side", ["single", "sweep"])
def test_an_unfinished_trial_gives_a_reason(build, side):
    done, open_ = [finished(build.cost(1.0))], [Run("t", False, (build.cost(1.0),))]
    ratio = times_cheaper(open_, done) if side == "single" else times_cheaper(done, done + open_)
    assert ratio.value is None
    assert ratio.reason in (
        "1 of 1 trials of the single run is not finished",
        "1 of 2 trials of the sweep is not finished",
    )


def test_a_missing_side_gives_a_reason(build):
    assert times_cheaper([], [finished(build.cost(1.0))]).reason == "the single run has no trial"


def test_other_device_kinds_give_a_reason(build):
    ratio = times_cheaper([finished(build.cost(1.0, device="H200"))], [finished(build.cost(1.0))])
    assert (ratio.value, ratio.reason) == (
        None,
        "the trials ran on different kinds of device (H200 and cpu); to convert their times, run “mrvae-orch doctor "
        "--calibrate” with this store on H200 and cpu",
    )


def test_a_kind_without_a_calibration_is_named(build):
    ratio = times_cheaper(
        [finished(build.cost(1.0, device="H200"))], [finished(build.cost(1.0))], speeds={"H200": 9.0, "other": 1.0}
    )
    assert ratio.value is None
    assert ratio.reason.endswith("with this store on cpu")


def test_calibrated_kinds_give_a_converted_ratio(build):
    """10 s of a device that is 300 times as fast are 3000 s; the ratio says that it is converted and by what."""
    single = [finished(build.cost(1.0, device="H200"), build.cost(30.0, phase="evaluate"))]
    sweep = [finished(build.cost(10.0, device="H200")), finished(build.cost(300.0, devices=2.0))]
    ratio = times_cheaper(single, sweep, speeds={"H200": 60_000.0, "cpu": 200.0})
    assert ratio.value == pytest.approx(3600 / 330)
    assert ratio.remark == "converted by calibration: 1 s on H200 as 300.00 s on cpu"


def test_one_kind_is_never_converted(build):
    ratio = times_cheaper([finished(build.cost(1.0))], [finished(build.cost(3.0))], speeds={"cpu": 7.0})
    assert (ratio.value, ratio.remark) == (3.0, "")


def test_what_is_lost_on_another_kind_needs_no_conversion(build):
    """A failed attempt elsewhere counts for neither side."""
    sweep = [finished(build.cost(50.0, device="H200", outcome="failed"), build.cost(6.0, attempt=2), images=0)]
    assert times_cheaper([finished(build.cost(2.0))], sweep).value == 3.0


def test_the_choice_of_learning_rates_is_converted_too(build):
    """What was tried counts whether it came to anything or not: 40 + 10 against 5 + 2 · 10 seconds of a CPU."""
    single, sweep = [finished(build.cost(5.0))], [finished(build.cost(40.0))]
    tried = [Run("t", False, (build.cost(2.0, device="H200", outcome="failed"),))]
    ratio = times_cheaper_with_choice(
        single, sweep, tried, [finished(build.cost(10.0))], speeds={"cpu": 1.0, "H200": 10.0}
    )
    assert ratio.value == pytest.approx(2.0)
    assert ratio.remark == "converted by calibration: 1 s on H200 as 10.00 s on cpu"
    assert times_cheaper_with_choice(single, sweep, tried, tried).reason.endswith("on H200 and cpu")


def test_no_time_gives_a_reason(build):
    no_time = finished(build.cost(0.0))
    assert times_cheaper([no_time], [finished(build.cost(1.0))]).reason == "no device time is recorded"


def test_costs_that_cannot_be_read_give_no_ratio(build):
    """A sweep that lost the costs of one trial would look cheaper than it was."""
    sweep = [finished(build.cost(1.0)), finished()]
    assert times_cheaper([finished(build.cost(1.0))], sweep).reason == (
        "the costs of 1 of 2 trials of the sweep cannot be read"
    )


def test_conversion_changes_times_and_not_flops(build):
    """Nobody knows what joules another device would have taken."""
    run = finished(replace(build.cost(10.0, device="H200", devices=4.0, flops=8.0), joules=5.0))
    (piece,) = convert(spent(run), {"H200": 6.0, "cpu": 2.0}, "cpu")
    assert (piece.device_kind, piece.seconds, piece.device_seconds) == ("cpu", 30.0, 120.0)
    assert (piece.flops, piece.joules) == (8.0, None)


def test_a_conversion_without_a_speed_is_refused(build):
    with pytest.raises(ValueError, match="cpu is not calibrated; run “mrvae-orch doctor --calibrate” there"):
        convert(spent(finished(build.cost(1.0, device="H200"))), {"H200": 6.0}, "cpu")


KINDS = ("A", "B", "C")
SPEEDS = st.fixed_dictionaries({kind: st.floats(1e-3, 1e6) for kind in KINDS})
SIDE = st.lists(st.tuples(st.floats(0.01, 1e5), st.sampled_from(KINDS)), min_size=1, max_size=5)


def runs(side):
    return [finished(replace(row(seconds, 0, "done"), device_kind=kind)) for seconds, kind in side]


def seconds_on(side, speeds, to):
    pieces = convert([piece for run in runs(side) for piece in spent(run)], speeds, to)
    assert {piece.device_kind for piece in pieces} == {to}
    return device_seconds(pieces, useful=True)[to]


@given(SIDE, SPEEDS, st.sampled_from(KINDS))
def test_converting_to_the_same_kind_changes_nothing(side, speeds, to):
    pieces = [piece for run in runs(side) for piece in spent(run) if piece.device_kind == to]
    assert convert(pieces, speeds, to) == convert(pieces, {}, to) == tuple(pieces)


@given(SIDE, SIDE, SPEEDS)
def test_the_ratio_is_the_same_whatever_kind_is_converted_to(single, sweep, speeds):
    expected = seconds_on(sweep, speeds, "A") / seconds_on(single, speeds, "A")
    for to in KINDS:
        assert seconds_on(sweep, speeds, to) / seconds_on(single, speeds, to) == pytest.approx(expected, rel=1e-9)
    if len({kind for _, kind in single + sweep}) > 1:
        assert times_cheaper(runs(single), runs(sweep), speeds=speeds).value == pytest.approx(expected, rel=1e-9)


@given(SIDE, SIDE, SPEEDS, st.floats(1e-3, 1e3))
def test_the_unit_of_speeds_does_not_matter(single, sweep, speeds, factor):
    scaled = {kind: factor * speed for kind, speed in speeds.items()}
    one, other = (times_cheaper(runs(single), runs(sweep), speeds=given) for given in (speeds, scaled))
    assert one.value == pytest.approx(other.value, rel=1e-9)


def test_joules_are_shared_as_the_training_is(build):
    """Of 900 images before the kill, 800 were taken over."""
    killed = replace(build.cost(9.0, outcome="killed", images=900), joules=90.0)
    run = finished(killed, replace(build.cost(2.0, attempt=2, images=200), joules=20.0), images=1000)
    joules = {piece.useful: piece.joules for piece in spent(run)}
    assert joules == {True: pytest.approx(100.0), False: pytest.approx(10.0)}


def test_joules_that_are_known_in_part_are_unknown(build):
    costs = (replace(build.cost(1.0), joules=5.0), build.cost(1.0))
    (piece,) = spent(finished(*costs))
    assert piece.joules is None


def test_a_part_of_a_device_is_shared(build):
    assert build.cost(1.0, devices=0.5).shared
    assert not build.cost(1.0, devices=4.0).shared


def test_time_on_a_shared_device_is_by_the_measured_share_where_there_is_one(build):
    """Half of a GPU is held; of the work done meanwhile 80 % was the training's, and the data phase has no sample."""
    train = replace(build.cost(10.0, devices=0.5), measured_share=0.8)
    assert (train.shared, train.device_seconds) == (True, 8.0)
    run = finished(train, build.cost(4.0, phase="data", devices=0.5), replace(train, phase="along", measured_share=0.0))
    assert {piece.phase: (piece.seconds, piece.device_seconds) for piece in spent(run)} == {
        "train": (10.0, 8.0),
        "data": (4.0, 2.0),
        "along": (10.0, 0.0),
    }


def test_the_measured_share_holds_for_lost_and_useful_training_alike(build):
    """Of 900 images before the kill, 800 were taken over."""
    killed = replace(build.cost(9.0, outcome="killed", images=900, devices=0.5), measured_share=0.3)
    run = finished(
        killed, replace(build.cost(2.0, attempt=2, images=200, devices=0.5), measured_share=1.0), images=1000
    )
    assert device_seconds(spent(run), useful=True) == {"cpu": pytest.approx(0.3 * 8.0 + 2.0)}
    assert device_seconds(spent(run), useful=False) == {"cpu": pytest.approx(0.3)}


def evaluated(build, attempt, seconds, eval_id, outcome="done"):
    return replace(build.cost(seconds, attempt=attempt, phase="evaluate", outcome=outcome), eval_id=eval_id)


def ratio_after(build, *later):
    """Return how much cheaper a run is than two others, where later evaluations were made of it."""
    first = (build.cost(10.0), evaluated(build, 1, 2.0, "asked"))
    single = Run("s", True, (*first, *later), eval_id="asked")
    return times_cheaper([single], [Run("a", True, first, eval_id="asked"), Run("b", True, first, eval_id="asked")])


def test_an_evaluation_is_counted_once(build):
    """Further ones, of other points or of the same, do not change what the comparison needed."""
    later = [evaluated(build, number, 5.0, "asked" if number == 3 else f"other-{number}") for number in range(2, 7)]
    assert ratio_after(build, *later) == ratio_after(build)
    assert ratio_after(build).value == 2.0


def test_the_evaluation_that_counts_is_that_of_the_points(build):
    """A later evaluation whose points are shown counts in place of the first."""
    costs = (build.cost(10.0), evaluated(build, 1, 2.0, "first"), evaluated(build, 2, 5.0, "shown"))
    seconds = {piece.phase: piece.seconds for piece in spent(Run("t", True, costs, eval_id="shown"))}
    assert seconds == {"train": 10.0, "evaluate": 5.0, "further evaluations": 2.0}


def test_costs_of_an_earlier_release_count_their_first_evaluation(build):
    """They do not name it."""
    costs = (build.cost(10.0), *(evaluated(build, number, float(number), None) for number in (1, 2, 3)))
    seconds = {piece.phase: piece.seconds for piece in spent(Run("t", True, costs, eval_id="shown"))}
    assert seconds == {"train": 10.0, "evaluate": 1.0, "further evaluations": 5.0}


def test_an_evaluation_that_was_killed_is_lost_work(build):
    costs = (build.cost(10.0), evaluated(build, 1, 3.0, "shown", "killed"), evaluated(build, 2, 2.0, "shown"))
    run = Run("t", True, costs, eval_id="shown")
    assert [piece.seconds for piece in spent(run) if piece.phase == "evaluate" and piece.useful] == [2.0]
    assert device_seconds(spent(run), useful=False) == {"cpu": 3.0}
