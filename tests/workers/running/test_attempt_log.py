"""The log of an attempt that is done, stopped or failed, with warnings, and on a store that fails."""

import logging
import re
import shutil
import warnings

import pytest

from command_line import wait_until
from evaluation.records import HistoryRow
from workers.outcome import Outcome
from workers.running.attempt import Attempt
from workers.running.attempt_log import EpochLog, attempt_log
from workers.running.run import run_trial
from workers.store.log_handler import StoreLogHandler
from workers.store.store import Folder, StoreError

LOG = "log/attempt-0001.txt"
DATED = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ (DEBUG|INFO|WARNING|ERROR) (.*)")


def logs_of(context, trial):
    folder = context.store.trial(trial.trial_id)
    return [folder.read(name).decode() for name in folder.names("log/attempt-*")]


def messages(log):
    """The level and text of each line; every line must be dated."""
    return [DATED.fullmatch(line).groups() for line in log.splitlines()]


def test_a_trial_says_where_it_ran_and_how_far_it_came(make_trial, make_context):
    trial = make_trial()
    context = make_context(trial)
    assert run_trial(trial, context) == Outcome("done")
    (log,) = logs_of(context, trial)
    levels, texts = zip(*messages(log), strict=True)
    assert set(levels) == {"INFO"}
    assert texts[0].startswith("attempt 1 on ")
    assert texts[1] == "training from step 0 (epoch 0.00)"
    assert texts[2].startswith("epoch 1/3: ELBO -")
    assert texts[-2:] == ("evaluating on the test split", "done")


def test_a_verbose_trial_logs_every_epoch_and_checkpoint(make_trial, make_context):
    trial = make_trial()
    context = make_context(trial, verbose=True, clock=lambda: 0.0)
    assert run_trial(trial, context) == Outcome("done")
    (log,) = logs_of(context, trial)
    assert [(level, text[:9]) for level, text in messages(log) if text.startswith("epoch")] == [
        ("INFO", "epoch 1/3"),
        ("DEBUG", "epoch 2/3"),
        ("DEBUG", "epoch 3/3"),
    ]
    assert ("DEBUG", "checkpoint of step 12 written in 0.00 s") in messages(log)


def test_a_stopped_trial_has_a_log_of_each_attempt(make_trial, make_context):
    """Each has its own lines only; the second says from which step it resumes."""
    trial = make_trial()
    steps = iter(range(1000))
    context = make_context(trial, should_stop=lambda: next(steps) == 6)
    assert run_trial(trial, context) == Outcome("stopped")
    assert run_trial(trial, make_context(trial)) == Outcome("done")
    first, second = logs_of(context, trial)
    assert first.endswith("stopped on request, after a checkpoint\n")
    assert "training from step 6 (epoch 1.50)" in second
    assert [log.count("attempt ") for log in (first, second)] == [1, 1]


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


def test_warnings_are_logged_by_each_attempt_and_shown_as_ever(tmp_path, capfd):
    """Python shows a warning of one place once a process; each attempt's log has it."""
    for attempt in (1, 2):
        with attempt_log(Folder(tmp_path), attempt, "CPU"):
            warnings.warn("odd", stacklevel=1)
            logging.getLogger("library").warning("strange: %d", 3)
    first, second = (Folder(tmp_path).read(f"log/attempt-000{attempt}.txt").decode() for attempt in (1, 2))
    for log in (first, second):
        assert re.search(r"Z WARNING .*test_attempt_log\.py:\d+: UserWarning: odd\n", log)
        assert log.count("WARNING strange: 3\n") == 1
    shown = capfd.readouterr().err
    assert (shown.count("UserWarning: odd"), shown.count("strange: 3")) == (2, 2)


def test_an_attempt_leaves_logging_as_it_was(tmp_path):
    """What comes after it is in no log of it, and shown by Python itself again."""
    handlers = list(logging.getLogger().handlers)
    with attempt_log(Folder(tmp_path), 1, "CPU"):
        pass
    assert logging.getLogger().handlers == handlers
    with pytest.warns(UserWarning, match="later"):
        warnings.warn("later", stacklevel=1)
    assert b"later" not in Folder(tmp_path).read(LOG)


def test_lines_are_written_while_the_attempt_lasts(tmp_path):
    """A kill loses no more than the lines of the last seconds."""
    with attempt_log(Folder(tmp_path), 1, "CPU", seconds=0.01):
        logging.getLogger("workers.anywhere").info("step")
        wait_until(lambda: b"INFO step\n" in Folder(tmp_path).read(LOG))


def test_lines_are_not_written_at_each_line(tmp_path):
    """A store may take long for one write."""
    with attempt_log(Folder(tmp_path), 1, "CPU", seconds=1e6):
        logging.getLogger("workers.anywhere").info("step")
        assert b"step" not in Folder(tmp_path).read(LOG)
    assert b"step" in Folder(tmp_path).read(LOG)


def test_of_many_epochs_some_are_logged(caplog):
    row, time = HistoryRow("id", 1, 4, 0.1, 1.0, 2.0, 1.0, 0.5, -1.5, 64, 1.0), [0.0]
    log = EpochLog(lambda: time[0])
    with caplog.at_level(logging.INFO, "workers"):
        for epoch in range(100):
            time[0] += 0.25
            log.log(epoch, 100, row)
    assert [record.getMessage().split(":")[0] for record in caplog.records] == [
        "epoch 0/100",
        "epoch 40/100",
        "epoch 80/100",
    ]


def fail_from_now_on(folder):
    shutil.rmtree(folder)
    folder.touch()


def test_a_store_that_fails_hides_no_other_error(tmp_path):
    folder = tmp_path / "trial"

    def train_until_the_store_fails() -> None:
        fail_from_now_on(folder)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), attempt_log(Folder(folder), 1, "CPU"):
        train_until_the_store_fails()


def test_a_store_that_fails_ends_an_attempt(tmp_path):
    """At its start, and at its end where nothing else has ended it."""
    (tmp_path / "file").touch()
    with pytest.raises(StoreError), attempt_log(Folder(tmp_path / "file"), 1, "CPU"):
        pytest.fail("the block must not be entered")
    folder = tmp_path / "trial"
    with pytest.raises(StoreError), attempt_log(Folder(folder), 1, "CPU"):
        fail_from_now_on(folder)


def test_a_store_that_comes_back_has_all_lines(tmp_path):
    handler = StoreLogHandler(Folder(tmp_path / "trial"), "log.txt")
    handler.handle(logging.makeLogRecord({"msg": "first"}))
    (tmp_path / "trial").touch()
    with pytest.raises(StoreError):
        handler.write()
    handler.handle(logging.makeLogRecord({"msg": "second"}))
    (tmp_path / "trial").unlink()
    handler.write()
    assert Folder(tmp_path / "trial").read("log.txt") == b"first\nsecond\n"


def test_a_record_that_cannot_be_formatted_raises_nothing(tmp_path):
    """As a library may log one while a trial trains."""
    handler = StoreLogHandler(Folder(tmp_path), "log.txt")
    handler.handle(logging.makeLogRecord({"msg": "%d of %d", "args": (1,)}))
    handler.handle(logging.makeLogRecord({"msg": "next"}))
    handler.write()
    assert Folder(tmp_path).read("log.txt") == b"next\n"
