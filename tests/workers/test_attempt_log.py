"""What an attempt's log says, after good ends and bad ones."""

import shutil
import warnings

import pytest

from workers.attempt import Attempt
from workers.attempt_log import AttemptLog
from workers.outcome import Outcome
from workers.run import run_trial
from workers.store import Folder, StoreError


def logs_of(context, trial):
    folder = context.store.trial(trial.trial_id)
    return [folder.read(name).decode() for name in folder.names("log/attempt-*")]


def test_a_trial_says_where_it_ran_and_how_far_it_came(make_trial, make_context):
    trial = make_trial()
    context = make_context(trial)
    assert run_trial(trial, context) == Outcome("done")
    (log,) = logs_of(context, trial)
    said = [line.split(" ", 2)[2] for line in log.splitlines()]
    assert said[0].startswith("attempt 1 on ")
    assert said[1] == "trains from step 0 (epoch 0.00)"
    assert said[2].startswith("epoch 1/3: ELBO -")
    assert said[-1] == "done"


def test_a_stopped_trial_has_a_log_of_each_attempt(make_trial, make_context):
    """The second says from which step it goes on."""
    trial = make_trial()
    steps = iter(range(1000))
    context = make_context(trial, should_stop=lambda: next(steps) == 6)
    assert run_trial(trial, context) == Outcome("stopped")
    assert run_trial(trial, make_context(trial)) == Outcome("done")
    first, second = logs_of(context, trial)
    assert first.endswith("stopped as asked, after a checkpoint\n")
    assert "trains from step 6 (epoch 1.50)" in second


def test_a_failed_trial_has_its_trace(make_trial, make_context, monkeypatch):
    trial = make_trial()
    context = make_context(trial)

    def broken(self, data):
        raise ZeroDivisionError("of the test")

    monkeypatch.setattr(Attempt, "_train", broken)
    assert run_trial(trial, context).state == "failed"
    (log,) = logs_of(context, trial)
    assert "Traceback" in log
    assert log.endswith("ZeroDivisionError: of the test\n")


def test_warnings_are_kept_and_shown_as_ever(tmp_path):
    folder = Folder(tmp_path)
    with pytest.warns(UserWarning, match="odd"), AttemptLog(folder, 1, "CPU", clock=lambda: 0.0, now=lambda: 0.0):
        warnings.warn("odd", stacklevel=1)
    assert "1970-01-01 00:00:00Z warning: UserWarning: odd (" in folder.read("log/attempt-0001.txt").decode()


def test_lines_are_written_every_few_seconds(tmp_path):
    """Not at each line: a store may take long for one write."""
    folder, time = Folder(tmp_path), [0.0]
    with AttemptLog(folder, 1, "CPU", clock=lambda: time[0], now=lambda: 0.0) as log:
        time[0] = 1.0
        log.say("early")
        assert b"early" not in folder.read("log/attempt-0001.txt")
        time[0] = 6.0
        log.say("late")
        assert b"early" in folder.read("log/attempt-0001.txt")


def test_of_many_epochs_some_are_kept(tmp_path):
    folder, time = Folder(tmp_path), [0.0]
    with AttemptLog(folder, 1, "CPU", clock=lambda: time[0], now=lambda: 0.0) as log:
        for epoch in range(100):
            time[0] += 0.25
            log.say_one_of(f"epoch {epoch}:")
    lines = folder.read("log/attempt-0001.txt").decode().splitlines()
    assert [line.split()[3] for line in lines[1:-1]] == ["0:", "40:", "80:"]


def test_a_store_that_fails_hides_no_other_error(tmp_path):
    folder = tmp_path / "trial"

    def train_until_the_store_fails() -> None:
        shutil.rmtree(folder)
        folder.touch()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), AttemptLog(Folder(folder), 1, "CPU", clock=lambda: 0.0, now=lambda: 0.0):
        train_until_the_store_fails()


def test_a_store_that_fails_ends_an_attempt(tmp_path):
    (tmp_path / "file").touch()
    log = AttemptLog(Folder(tmp_path / "file"), 1, "CPU", clock=lambda: 0.0, now=lambda: 0.0)
    with pytest.raises(StoreError):
        log.say("anything")
