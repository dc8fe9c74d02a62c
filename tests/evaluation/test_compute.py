import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.compute import Run, device_seconds, spent, times_cheaper, total
from evaluation.records import Cost


def finished(*costs, images=None):
    return Run("t", True, costs, images)


def test_device_seconds_are_seconds_times_devices(build):
    run = finished(build.cost(10.0, devices=4.0), build.cost(3.0, phase="evaluate", devices=0.5))
    assert device_seconds(spent(run), useful=True) == {"cpu": 41.5}


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
    assert (ratio.value, ratio.reason) == (None, "they ran on different kinds of device (H200 and cpu)")


def test_no_time_gives_a_reason(build):
    assert times_cheaper([finished()], [finished(build.cost(1.0))]).reason == "no device time is recorded"
