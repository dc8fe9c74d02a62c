"""A sweep seen from another machine: what its driver wrote into the store, and what is asked of it there."""

import json
import threading

import pytest

from command_line import SPEC, CommandLine
from orchestrator.cli.cancel import _has_heard
from orchestrator.driver.console_log import logged_console
from orchestrator.monitoring.driver_status import DRIVER, SILENT_SECONDS, Liveness, read_driver
from orchestrator.monitoring.logs import GrowingLog, driver_logs, follow_log
from orchestrator.monitoring.watch import Watch, summary
from orchestrator.spec.file import spec_from_text
from orchestrator.sweeps.control_files import RETRY, STOP, cancel_trials, cancelled_trials
from orchestrator.sweeps.selection import resolve
from orchestrator.sweeps.sweep import save_sweep, sole_driver
from orchestrator.terminal import console
from workers.store.layout import FAILURE
from workers.store.store import Folder, Store

RECORD = {
    "at": 1000.0,
    "state": "running",
    "host": "head",
    "nodes": 2,
    "devices": {"CPU": {"total": 4.0, "used": 2.0}, "GPU": {"total": 0.0, "used": 0.0}},
    "waiting": 2,
    "interruptions": 1,
    "examples_per_second": 1234.5,
    "seconds_left": 90.0,
    "device_seconds": 30.0,
}


@pytest.fixture
def laptop(tmp_path):
    return CommandLine(tmp_path)


@pytest.fixture
def store(laptop):
    return Store(laptop.store)


@pytest.fixture
def sweep(store):
    return save_sweep(store, resolve(spec_from_text(SPEC, "spec.yaml"), store), 0.0)


def write_driver(store, **changes):
    store.sweep("tiny").write_json(DRIVER, {**RECORD, **changes})


def test_watch_shows_what_runs_and_where(laptop, store, sweep):
    trial_id = sweep.plan.trials[0].trial_id
    running = [{"trial_id": trial_id, "epoch": 1.5, "epochs": 3, "elbo": -91.25, "seconds": 12.0, "ranks": 2}]
    # A clock that is an hour ahead, as that of the driver's machine may be, makes nobody silent.
    write_driver(store, at=2e9 + 3600, running=running)
    shown = laptop.ask("watch", "tiny", "--once").out
    assert "tiny: 3 pending · running on head\n" in shown
    assert "2 nodes · CPU 2 of 4 in use\n" in shown
    assert "1,234 examples/s · about 1 min 30 s left · 30 s of device time so far · 1 interruption\n" in shown
    assert f"MR-VAE, β 0.01…10, seed 0 ({trial_id[:8]}), 2 ranks" in shown
    assert "1.5/3" in shown
    assert "-91.25" in shown


def test_a_driver_is_gone_when_it_stops_writing(store, sweep):
    """Judged by our own clock from when it was seen to write, whatever its own says."""
    times = {"clock": 0.0, "now": 1e9}
    watch = Watch(store, "tiny", clock=lambda: times["clock"], now=lambda: times["now"])
    write_driver(store, at=5e9)
    assert watch.snapshot().driven
    times["clock"] = SILENT_SECONDS - 1
    late = watch.snapshot()
    assert late.driven
    assert summary(late).plain.startswith("tiny: 3 pending · running on head, last heartbeat 1 min 59 s ago · ")
    write_driver(store, at=5e9 + 5)
    assert watch.snapshot().silent_seconds == 0
    times["clock"] += SILENT_SECONDS
    assert not watch.snapshot().driven


def test_a_driver_that_ended_is_not_waited_for(laptop, store, sweep):
    """Its trials are cancelled or failed, so nothing is left to run; not all is done."""
    first, second, third = sweep.plan.trials
    cancel_trials(store, "tiny", [first.trial_id, second.trial_id])
    store.trial(third.trial_id).write_json(FAILURE, {"message": "NaN"})
    write_driver(store, state="ended", why="budget reached")
    watched = laptop.ask("watch", "tiny")
    assert watched.code == 1
    assert "1 failed, 2 cancelled · ended" in watched.out
    assert "budget reached" in watched.out
    listed = laptop.ask("list", "--json").json["sweeps"]
    assert [(each["sweep"], each["driver"]["state"]) for each in listed] == [("tiny", "ended")]


@pytest.mark.parametrize("record", [{}, {"at": 1.0, "devices": {"CPU": {}}, "running": [{}], "seconds_left": None}])
def test_what_a_driver_leaves_out_is_not_missed(store, sweep, record):
    store.sweep("tiny").write_json(DRIVER, record)
    assert read_driver(store, "tiny").interruptions == 0


def test_cancel_and_retry_reach_a_driver_through_the_store(laptop, store, sweep):
    """Trials are named by the start of their ids; a sweep that is being run is not run a second time."""
    trial_id = sweep.plan.trials[1].trial_id
    assert laptop.ask("cancel", "tiny", trial_id[:8]).out.endswith(f"({trial_id[:8]}): cancelled\n")
    assert cancelled_trials(store, "tiny") == {trial_id}
    assert laptop.ask("report", "tiny").code == 0
    assert "1 trial was cancelled" in (laptop.store / "sweeps/tiny/report/report.md").read_text()
    with sole_driver(store, "tiny"):
        retried = laptop.ask("retry", "tiny", "--failed")
    assert retried.code == 0, retried.err
    assert "tiny is running; its driver was asked to retry 1 trials" in retried.out
    assert cancelled_trials(store, "tiny") == set()
    assert store.sweep("tiny").read(RETRY) is not None
    assert laptop.ask("retry", "tiny", "--failed").out == "No trial failed or was cancelled.\n"


def test_cancel_waits_for_the_drivers_answer(laptop, store, sweep):
    write_driver(store)

    def answer():
        while store.sweep("tiny").read(STOP) is None:
            pass
        write_driver(store, state="stopping", at=1005.0)

    threading.Thread(target=answer, daemon=True).start()
    stopped = laptop.ask("cancel", "tiny")
    assert stopped.code == 0
    assert "tiny: stopping once running trials have saved checkpoints" in stopped.out
    write_driver(store, state="ended")
    assert "no driver is running" in laptop.ask("cancel", "tiny").out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("cancel", "tiny", "zz"), "no trial of sweep 'tiny' begins with 'zz'"),
        (("cancel", "tiny", ""), "3 trials of sweep 'tiny' begin with ''"),
        (("watch", "tinyy"), "did you mean 'tiny'?"),
        (("logs", "tiny"), "no driver of sweep 'tiny' has logged anything yet"),
        (("retry", "tiny"), "name the trials, or use --failed"),
    ],
)
def test_what_cannot_be_meant_is_refused(laptop, store, sweep, arguments, message):
    refused = laptop.ask(*arguments)
    assert refused.code == 2
    assert message in refused.err


def test_what_a_driver_prints_is_kept(store, sweep, capsys):
    """Each driver has its own log, which ends with the error that ended it; one that printed nothing has none."""
    with logged_console(console(), store, "tiny") as out:
        out.print("first [line]")
    with pytest.raises(ZeroDivisionError), logged_console(console(), store, "tiny") as out:
        fail_after(out, "second")
    with pytest.raises(ZeroDivisionError), logged_console(console(), store, "tiny"):
        raise ZeroDivisionError
    folder = store.sweep("tiny")
    assert [folder.read(name).decode() for name in driver_logs(store, "tiny")] == [
        "first [line]\n",
        "second\nZeroDivisionError: of the test\n",
    ]
    assert capsys.readouterr().out == "first [line]\nsecond\n"


def fail_after(out, line):
    out.print(line)
    raise ZeroDivisionError("of the test")


def test_what_an_earlier_driver_left_is_no_answer(store, sweep):
    """A status from before a stop request, which came while a job was starting, does not answer it."""
    write_driver(store, state="ended")
    before = read_driver(store, "tiny")
    assert not _has_heard(store, "tiny", before)
    write_driver(store, state="running", at=1005.0)
    assert not _has_heard(store, "tiny", before)
    write_driver(store, state="stopping", at=1010.0)
    assert _has_heard(store, "tiny", before)


def test_the_log_of_a_killed_driver_ends(store, sweep):
    """It never says that it has ended; and one whose clock is an hour behind is waited for."""
    times = {"clock": 0.0, "now": 3600.0}
    liveness = Liveness(store, "tiny", clock=lambda: times["clock"], now=lambda: times["now"])
    assert liveness.has_ended()
    write_driver(store, at=0.0)
    assert not liveness.has_ended()
    times["clock"] += 10
    write_driver(store, at=10.0)
    assert not liveness.has_ended()
    times["clock"] += SILENT_SECONDS + 1
    assert liveness.has_ended()


def test_a_slow_store_does_not_lose_the_last_lines_of_a_log(store, sweep, monkeypatch):
    """A write that takes long is not overtaken by the next one, which has more lines."""
    begun, released, ended = threading.Event(), threading.Event(), threading.Event()
    write = Folder.write

    def slow_at_first(folder, name, content):
        is_first = not begun.is_set()
        if is_first:
            begun.set()
            released.wait(30)
        stored = write(folder, name, content)
        if is_first:
            ended.set()
        return stored

    monkeypatch.setattr("workers.store.store.Folder.write", slow_at_first)
    with logged_console(console(), store, "tiny", seconds=0.01) as logged:
        logged.print("first")
        assert begun.wait(30)
        logged.print("last")
        threading.Timer(0.2, released.set).start()
    assert ended.wait(30)
    (name,) = driver_logs(store, "tiny")
    assert store.sweep("tiny").read(name) == b"first\nlast\n"


def test_a_log_is_followed_to_its_end():
    """What came between the last look and the end is not left out."""
    texts, ends, written = iter(["one\n", "one\ntwo\n"]), iter([False, True]), []
    follow_log(GrowingLog(lambda: next(texts), lambda: next(ends)), written.append)
    assert "".join(written) == "one\ntwo\n"


def test_shells_complete_sweeps_and_trials(laptop, store, sweep):
    trial_id = sweep.plan.trials[0].trial_id
    laptop.variables = {"_MRVAE_ORCH_COMPLETE": "bash_complete", "COMP_WORDS": "mrvae-orch cancel tiny " + trial_id[:4]}
    laptop.variables |= {"COMP_CWORD": "3"}
    assert trial_id in laptop.run().out


def test_scripts_can_read_how_a_sweep_stands(laptop, store, sweep):
    write_driver(store)
    record = json.loads(laptop.ask("watch", "tiny", "--json").out)
    assert record["counts"] == {"pending": 3}
    assert record["driver"]["devices"] == {"CPU": [2.0, 4.0], "GPU": [0.0, 0.0]}
