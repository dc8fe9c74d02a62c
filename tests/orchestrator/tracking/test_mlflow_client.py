"""Everything here runs against MLflow itself, on a SQLite file or behind a server on the loopback interface.

What is counted is counted in MLflow's database, not in what its client says.
"""

import contextlib
import http.server
import math
import shutil
import socket
import socketserver
import sqlite3
import subprocess
import sys
import threading
import time
from dataclasses import replace
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_server import Backend, free_port, sqlite_at
from orchestrator.tracking.mlflow_client import Forwarder, TrackingUnavailable, forward_until_ended, probe
from orchestrator.tracking.records import ForwardReport, TrackedSweep
from orchestrator.tracking.uri import redact, sqlite_uri
from tracked_trials import STARTED_MS, expected_history, log_epochs, tracked_trial
from workers.running.metric_log import MetricLog
from workers.store.store import Folder, StoreError


@pytest.fixture
def sqlite_backend(tmp_path, empty_mlflow):
    database = tmp_path / "store" / "mlflow.db"
    database.parent.mkdir()
    shutil.copy(empty_mlflow, database)
    return Backend(sqlite_uri(database.parent / "mlflow.db"), sqlite_at(database), "mrvae-orch")


@pytest.fixture
def server_backend(mlflow_server, request):
    return Backend(mlflow_server.uri, mlflow_server.database, request.node.name)


@pytest.fixture(params=["sqlite", "server"])
def backend(request):
    return request.getfixturevalue(f"{request.param}_backend")


@pytest.fixture
def forwarder(request, tmp_path):
    """Make forwarders for a backend: each is new, as in a new process, all have the same state folder."""

    def make(backend, uri=None, **options):
        return Forwarder(
            uri or backend.uri,
            artifact_root=tmp_path / "store" / "mlartifacts",
            state_folder=tmp_path / "store" / "mlflow-state",
            experiment=backend.experiment,
            **options,
        )

    return make


@pytest.fixture
def make_trial(tmp_path):
    """Make a finished trial with a log of `epochs` steps of two metrics."""
    return partial(tracked_trial, tmp_path / "trials")


def test_forwarding_twice_adds_nothing(backend, forwarder, make_trial):
    """Every metric of the log is one row with the log's step and timestamp, however often it is forwarded."""
    trial = make_trial("a")
    sweep = TrackedSweep("s", (trial,))
    first = forwarder(backend).forward(sweep)
    again = forwarder(backend).forward(sweep)
    assert (first.metrics_sent, first.runs_created) == (6, 2)
    assert (again.metrics_sent, again.runs_created, again.unchanged) == (0, 0, 1)
    assert backend.history(trial.trial_id) == expected_history(3)


def test_without_its_memory_forwarding_adds_nothing(backend, forwarder, make_trial, tmp_path):
    """Where the cache is lost, runs are found by their tags and what is sent again changes nothing."""
    trials = tuple(make_trial(name) for name in "abc")
    forwarder(backend).forward(TrackedSweep("s", trials))
    shutil.rmtree(tmp_path / "store" / "mlflow-state")
    report = forwarder(backend).forward(TrackedSweep("s", trials))
    assert (report.runs_created, report.metrics_sent) == (0, 18)
    assert len(backend.runs()) == 4
    assert [backend.history(trial.trial_id) for trial in trials] == [expected_history(3)] * 3


def test_a_damaged_memory_is_as_good_as_none(sqlite_backend, forwarder, make_trial, tmp_path):
    """A cache file that cannot be read costs another sending, not a metric and not an error."""
    trial = make_trial("a")
    forwarder(sqlite_backend).forward(TrackedSweep("s", (trial,)))
    (cache,) = (tmp_path / "store" / "mlflow-state").glob("*.json")
    cache.write_text('{"version": 1, "trials": {"aaaa": {}}}')
    assert forwarder(sqlite_backend).forward(TrackedSweep("s", (trial,))).runs_created == 0
    assert sqlite_backend.history(trial.trial_id) == expected_history(3)


def test_a_sweep_is_a_parent_run_and_its_trials_are_children(backend, forwarder, make_trial):
    """The parent carries the sweep's tags, each child the trial's, its parameters and the parent's id."""
    trial = make_trial("a")
    forwarder(backend).forward(TrackedSweep("s", (trial,), tags={"device": "cpu"}))
    parent, child = backend.parent_of("s"), backend.run_of(trial.trial_id)
    assert (parent["mrvae.kind"], parent["device"], parent["name"]) == ("sweep", "cpu", "s")
    assert child["mlflow.parentRunId"] == parent["run_id"]
    assert (child["mrvae.kind"], child["mrvae.sweep.s"], child["git"]) == ("trial", "1", "abc")
    assert backend.parameters(trial.trial_id) == {"method.beta": "0.1", "seed": "7"}


def test_a_run_has_the_name_times_and_status_of_its_trial(backend, forwarder, make_trial):
    """Runs start and end when their trials did, not when they were forwarded."""
    done = make_trial("a")
    failed = make_trial("b", state="failed", message="the loss is nan at step 3", ended_ms=STARTED_MS + 9000)
    forwarder(backend).forward(TrackedSweep("s", (done, failed)))
    shown = [backend.run_of(trial.trial_id) for trial in (done, failed)]
    assert [run["name"] for run in shown] == ["beta-vae a", "beta-vae b"]
    assert [(run["status"], run["start"], run["end"]) for run in [*shown, backend.parent_of("s")]] == [
        ("FINISHED", STARTED_MS, STARTED_MS + 5000),
        ("FAILED", STARTED_MS, STARTED_MS + 9000),
        ("FAILED", STARTED_MS, STARTED_MS + 9000),
    ]
    assert shown[1]["mrvae.message"] == "the loss is nan at step 3"


def test_a_run_follows_its_trial_from_state_to_state(sqlite_backend, forwarder, make_trial):
    """A trial that waits has no run; then its run runs, fails, waits for another attempt and finishes."""
    done = make_trial("a")
    states = {
        "running": replace(done, state="running", ended_ms=None),
        "failed": replace(done, state="failed", message="out of memory"),
        "pending": replace(done, state="pending", ended_ms=None),
        "done": done,
    }
    waiting = replace(done, state="pending", started_ms=None, ended_ms=None)
    report = forwarder(sqlite_backend).forward(TrackedSweep("s", (waiting,)))
    assert (report.pending, len(sqlite_backend.runs())) == (1, 1)
    seen = []
    for trial in states.values():
        forwarder(sqlite_backend).forward(TrackedSweep("s", (trial,)))
        run, parent = sqlite_backend.run_of(done.trial_id), sqlite_backend.parent_of("s")
        seen.append((run["status"], parent["status"], run.get("mrvae.message")))
    assert seen == [
        ("RUNNING", "RUNNING", None),
        ("FAILED", "FAILED", "out of memory"),
        ("SCHEDULED", "SCHEDULED", ""),
        ("FINISHED", "FINISHED", ""),
    ]


def test_a_trial_of_two_sweeps_has_one_run(backend, forwarder, make_trial):
    """Its parent stays the first sweep's, both sweeps' tags are on it, and each sweep has its own parent."""
    shared, own = make_trial("a"), make_trial("b")
    for _ in range(2):
        forwarder(backend).forward(TrackedSweep("first", (shared,)))
        forwarder(backend).forward(TrackedSweep("second", (shared, own)))
    run = backend.run_of(shared.trial_id)
    assert run["mlflow.parentRunId"] == backend.parent_of("first")["run_id"]
    assert (run["mrvae.sweep.first"], run["mrvae.sweep.second"]) == ("1", "1")
    assert backend.run_of(own.trial_id)["mlflow.parentRunId"] == backend.parent_of("second")["run_id"]
    assert backend.history(shared.trial_id) == expected_history(3)


def test_more_metrics_than_a_batch_holds_all_arrive(backend, forwarder, make_trial):
    """2,500 metrics are more than two batches of MLflow's 1,000, and all of them stand there once."""
    trial = make_trial("a", epochs=0)
    log = MetricLog(trial.log_path)
    for step in range(25):
        log.append(step, {f"metric {index}": float(index) for index in range(100)}, STARTED_MS + step)
    for _ in range(2):
        forwarder(backend).forward(TrackedSweep("s", (trial,)))
    assert len(backend.history(trial.trial_id)) == 2500


def test_parameters_and_tags_beyond_mlflows_limits_are_cut(backend, forwarder, make_trial):
    """150 parameters cross the batch limit; values end at 6,000 characters, tags at 8,000, names at 250."""
    parameters = {f"p{index}": "v" for index in range(149)} | {"long": "x" * 7000}
    trial = make_trial("a", parameters=parameters, tags={"long": "y" * 9000}, run_name="n" * 300)
    for _ in range(2):
        report = forwarder(backend).forward(TrackedSweep("s", (trial,)))
        assert report.rejected == ()
    shown, run = backend.parameters(trial.trial_id), backend.run_of(trial.trial_id)
    assert (len(shown), len(shown["long"]), len(run["long"]), len(run["name"])) == (150, 6000, 8000, 250)


def test_names_that_mlflow_forbids_are_changed_and_stay_apart(backend, forwarder, make_trial):
    """Two metrics whose names differ only in forbidden characters are two metrics in MLflow as well."""
    trial = make_trial("a", epochs=0, parameters={"a=b": "1", "a?b": "2", "../up": "3", "x" * 300: "4"})
    MetricLog(trial.log_path).append(0, {"β=1": 1.0, "β?1": 2.0, "/absolute//path": 3.0, "": 4.0}, STARTED_MS)
    report = forwarder(backend).forward(TrackedSweep("s", (trial,)))
    assert report.rejected == ()
    assert sorted(value for _, _, _, value, _ in backend.history(trial.trial_id)) == [1.0, 2.0, 3.0, 4.0]
    assert sorted(backend.parameters(trial.trial_id).values()) == ["1", "2", "3", "4"]


def test_nan_and_infinities_arrive_once(backend, forwarder, make_trial, tmp_path):
    """MLflow shows NaN as such and an infinity as the largest number; sending them again adds no row."""
    trial = make_trial("a", epochs=0)
    log = MetricLog(trial.log_path)
    for step, value in enumerate([math.nan, math.inf, -math.inf]):
        log.append(step, {"loss": value}, STARTED_MS)
    for _ in range(2):
        forwarder(backend).forward(TrackedSweep("s", (trial,)))
        shutil.rmtree(tmp_path / "store" / "mlflow-state")
    largest = sys.float_info.max
    shown = [(step, value, is_nan) for _, step, _, value, is_nan in backend.history(trial.trial_id)]
    assert shown == [(0, 0.0, 1), (1, largest, 0), (2, -largest, 0)]


def test_a_torn_line_is_forwarded_when_it_is_whole(sqlite_backend, forwarder, make_trial):
    """A pass in the middle of a write forwards the whole lines; the rest follows, and nothing is doubled."""
    trial = make_trial("a", epochs=3)
    content = trial.log_path.read_bytes()
    trial.log_path.write_bytes(content[:-20])
    assert forwarder(sqlite_backend).forward(TrackedSweep("s", (trial,))).metrics_sent == 4
    trial.log_path.write_bytes(content)
    assert forwarder(sqlite_backend).forward(TrackedSweep("s", (trial,))).metrics_sent == 2
    assert sqlite_backend.history(trial.trial_id) == expected_history(3)


def test_an_epoch_that_a_resumed_trial_repeats_stands_once(backend, forwarder, make_trial):
    """A trial killed after epoch 3 that goes on from a checkpoint of epoch 1 doubles none of its epochs."""
    trial = make_trial("a", epochs=3, state="running", ended_ms=None)
    forwarder(backend).forward(TrackedSweep("s", (trial,)))
    with trial.log_path.open("ab") as handle:
        handle.write(b'{"step": 3, "timest')
    log_epochs(trial.log_path, range(1, 3), delay_ms=60_000)
    log_epochs(trial.log_path, range(3, 5))
    forwarder(backend).forward(TrackedSweep("s", (replace(trial, state="done"),)))
    assert backend.history(trial.trial_id) == expected_history(5)


def test_a_trial_trained_again_from_nothing_stands_once(backend, forwarder, make_trial):
    """Where a trial's files were removed and it was trained again, its run keeps the first metrics."""
    trial = make_trial("a", epochs=3)
    forwarder(backend).forward(TrackedSweep("s", (trial,)))
    trial.log_path.unlink()
    log_epochs(trial.log_path, range(2), delay_ms=60_000)
    half = replace(trial, state="running", ended_ms=None)
    forwarder(backend).forward(TrackedSweep("s", (half,)))
    log_epochs(trial.log_path, range(2, 3), delay_ms=60_000)
    log_epochs(trial.log_path, range(3, 4))
    forwarder(backend).forward(TrackedSweep("s", (trial,)))
    assert backend.history(trial.trial_id) == expected_history(4)


def test_artifacts_are_uploaded_when_they_change(backend, forwarder, make_trial, tmp_path):
    """The spec and what else exists hang on the parent run; only a file with new content is sent again."""
    spec, report, later = (tmp_path / name for name in ("spec.yaml", "report.html", "points.parquet"))
    spec.write_text("name: s")
    report.write_text("first")
    sweep = TrackedSweep("s", (make_trial("a"),), spec_path=spec, artifacts=(spec, report, later))
    sent = [forwarder(backend).forward(sweep).artifacts_sent for _ in range(2)]
    report.write_text("second")
    later.write_bytes(b"PAR1")
    sent.append(forwarder(backend).forward(sweep).artifacts_sent)
    assert sent == [2, 0, 2]
    assert fetch_artifacts(backend, tmp_path / "fetched") == {
        "spec.yaml": b"name: s",
        "report.html": b"second",
        "points.parquet": b"PAR1",
    }


def fetch_artifacts(backend, folder):
    from mlflow.tracking import MlflowClient

    folder.mkdir()
    run_id = backend.parent_of("s")["run_id"]
    MlflowClient(backend.uri).download_artifacts(run_id, "", str(folder))
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_artifacts_of_the_same_name_are_an_error(make_trial, tmp_path):
    """Two files that would replace each other on the parent run are refused at once."""
    with pytest.raises(ValueError, match="different file names"):
        TrackedSweep("s", (), artifacts=(tmp_path / "a" / "points.parquet", tmp_path / "b" / "points.parquet"))


@pytest.mark.parametrize("other_experiments", [0, 1])
def test_a_database_made_anew_gets_everything(sqlite_backend, forwarder, make_trial, empty_mlflow, other_experiments):
    """What was forwarded to a database that is gone is forwarded to the one in its place too."""
    sweep = TrackedSweep("s", tuple(make_trial(name) for name in "ab"))
    forwarder(sqlite_backend).forward(sweep)
    shutil.copy(empty_mlflow, sqlite_backend.database.path)
    if other_experiments:
        forwarder(replace(sqlite_backend, experiment="other")).forward(TrackedSweep("t", ()))
    report = forwarder(sqlite_backend).forward(sweep)
    assert (report.runs_created, report.metrics_sent) == (3, 12)
    assert [sqlite_backend.history(trial.trial_id) for trial in sweep.trials] == [expected_history(3)] * 2


def test_a_database_restored_from_an_old_copy_gets_what_it_lacks(sqlite_backend, forwarder, make_trial, tmp_path):
    """A copy from before the last trials has their sweep, yet gets the trials that came later."""
    trials = tuple(make_trial(name) for name in "ab")
    forwarder(sqlite_backend).forward(TrackedSweep("s", trials[:1]))
    shutil.copy(sqlite_backend.database.path, tmp_path / "old.db")
    forwarder(sqlite_backend).forward(TrackedSweep("s", trials))
    shutil.copy(tmp_path / "old.db", sqlite_backend.database.path)
    forwarder(sqlite_backend).forward(TrackedSweep("s", trials))
    assert [sqlite_backend.history(trial.trial_id) for trial in trials] == [expected_history(3)] * 2


def test_a_run_deleted_in_mlflow_comes_back_when_its_trial_goes_on(sqlite_backend, forwarder, make_trial):
    """A trial whose run was deleted gets a new one with its whole history once there is news of it."""
    trial, other = make_trial("a", state="running", ended_ms=None), make_trial("b")
    forwarder(sqlite_backend).forward(TrackedSweep("s", (trial, other)))
    delete_run(sqlite_backend, sqlite_backend.run_of(trial.trial_id)["run_id"])
    log_epochs(trial.log_path, range(3, 4))
    forwarder(sqlite_backend).forward(TrackedSweep("s", (trial, other)))
    assert sqlite_backend.history(trial.trial_id) == expected_history(4)


def test_children_of_a_deleted_parent_move_to_the_new_one(sqlite_backend, forwarder, make_trial):
    """Where the parent run was deleted, the sweep gets another, and no child is left floating."""
    trial = make_trial("a")
    forwarder(sqlite_backend).forward(TrackedSweep("s", (trial,)))
    delete_run(sqlite_backend, sqlite_backend.parent_of("s")["run_id"])
    forwarder(sqlite_backend).forward(TrackedSweep("s", (trial,)))
    run, parent = sqlite_backend.run_of(trial.trial_id), sqlite_backend.parent_of("s")
    assert run["mlflow.parentRunId"] == parent["run_id"]
    assert sqlite_backend.history(trial.trial_id) == expected_history(3)


def delete_run(backend, run_id):
    from mlflow.tracking import MlflowClient

    MlflowClient(backend.uri).delete_run(run_id)


def test_a_trial_that_mlflow_refuses_stops_no_other(backend, forwarder, make_trial):
    """A log that MLflow cannot take (a time before 1970) is named in the report; the others arrive."""
    bad, good = make_trial("a", epochs=0), make_trial("b")
    MetricLog(bad.log_path).append(0, {"loss": 1.0}, -1)
    report = forwarder(backend).forward(TrackedSweep("s", (bad, good)))
    assert [line.startswith("trial aaaa (beta-vae a): ") for line in report.rejected] == [True]
    assert backend.history(good.trial_id) == expected_history(3)


def test_many_trials_are_found_and_forwarded_once(sqlite_backend, forwarder, make_trial, tmp_path):
    """Beyond the number that is looked up one by one, all runs are listed; none is created twice."""
    sweep = TrackedSweep("s", tuple(make_trial(f"t{index}-", epochs=1) for index in range(60)))
    forwarder(sqlite_backend).forward(sweep)
    shutil.rmtree(tmp_path / "store" / "mlflow-state")
    assert forwarder(sqlite_backend).forward(sweep).runs_created == 0
    assert sqlite_backend.query("select count(*) from metrics") == [(120,)]


def test_unchanged_trials_cost_no_call(sqlite_backend, forwarder, make_trial):
    """A pass over forwarded trials asks the database as much for thirty of them as for three."""
    from sqlalchemy import Engine, event

    trials = tuple(make_trial(f"t{index}-", epochs=1) for index in range(30))
    forwarder(sqlite_backend).forward(TrackedSweep("s", trials))
    asked = []

    def count(_connection, _cursor, statement, *_):
        asked.append(statement)

    event.listen(Engine, "before_cursor_execute", count)
    try:
        counts = []
        for sweep in (TrackedSweep("s", trials[:3]), TrackedSweep("s", trials)):
            asked.clear()
            forwarder(sqlite_backend).forward(sweep)
            counts.append(len(asked))
    finally:
        event.remove(Engine, "before_cursor_execute", count)
    assert counts[0] == counts[1] > 0


def test_a_server_killed_in_the_middle_loses_and_doubles_nothing(mlflow_server, server_backend, forwarder, make_trial):
    """After kill -9 of the server in a pass, forwarding tries until it is back; then all is there once."""
    sweep = TrackedSweep("s", tuple(make_trial(f"t{index}-") for index in range(20)))
    runs_before = server_backend.count_runs()

    def kill_when_some_are_there():
        while server_backend.count_runs() < runs_before + 4:
            time.sleep(0.02)
        mlflow_server.kill()

    killer = threading.Thread(target=kill_when_some_are_there)
    killer.start()
    with pytest.raises(TrackingUnavailable, match="mrvae-orch sync"):
        forwarder(server_backend).forward(sweep)
    killer.join()
    waits = []

    def wait(seconds):
        waits.append(seconds)
        if len(waits) == 3:
            mlflow_server.start()

    outcome = forward_until_ended(lambda: sweep, forwarder(server_backend), lambda: len(waits) == 3, wait)
    assert waits == [0.5, 1.0, 2.0]
    assert 0 < outcome.runs_created < 20
    assert len(server_backend.runs()) == 21
    assert [server_backend.history(trial.trial_id) for trial in sweep.trials] == [expected_history(3)] * 20


class Relay(socketserver.ThreadingTCPServer):
    """A port that passes every connection on to another one, for a server that comes late."""

    daemon_threads = True

    def __init__(self, port, target_port):
        self._target = ("127.0.0.1", target_port)
        super().__init__(("127.0.0.1", port), None)

    def finish_request(self, request, _address):
        with socket.create_connection(self._target) as target:
            back = threading.Thread(target=self._copy, args=(target, request), daemon=True)
            back.start()
            self._copy(request, target)
            back.join()

    @staticmethod
    def _copy(source, sink):
        with contextlib.suppress(OSError):
            while content := source.recv(65536):
                sink.sendall(content)
            sink.shutdown(socket.SHUT_WR)


def test_a_server_away_from_the_start_gets_everything_when_it_comes(server_backend, forwarder, make_trial):
    """`forward_until_ended` goes on trying, forwards when the server comes, and after the end once more."""
    trial = make_trial("a", epochs=1)
    target_port = int(server_backend.uri.rpartition(":")[2])
    waits = []
    with contextlib.ExitStack() as stack:
        port = free_port()

        def wait(seconds):
            waits.append(seconds)
            if len(waits) == 2:
                relay = stack.enter_context(Relay(port, target_port))
                threading.Thread(target=relay.serve_forever, daemon=True).start()
                stack.callback(relay.shutdown)
            if len(waits) == 3:
                log_epochs(trial.log_path, range(1, 3))

        follower = forwarder(server_backend, f"http://127.0.0.1:{port}")
        outcome = forward_until_ended(lambda: TrackedSweep("s", (trial,)), follower, lambda: len(waits) == 3, wait)
    # Twice away, then a pass that went well.
    assert waits == [0.5, 1.0, 10.0]
    assert outcome.metrics_sent == 4
    assert server_backend.history(trial.trial_id) == expected_history(3)


def test_follow_gives_back_the_last_failure(sqlite_backend, forwarder, make_trial):
    """Where MLflow is away to the end, `forward_until_ended` waits 30 s at most and returns what is wrong."""
    sqlite_backend.database.path.write_bytes(b"this is no database" * 100)
    waits = []
    outcome = forward_until_ended(
        lambda: TrackedSweep("s", (make_trial("a"),)),
        forwarder(sqlite_backend),
        lambda: len(waits) == 8,
        waits.append,
    )
    assert waits == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    assert "file is not a database" in str(outcome)


def test_follow_goes_on_after_the_store_was_away(sqlite_backend, forwarder, make_trial):
    """A store that cannot be read or written for a while is an outage like one of MLflow."""
    sweep, waits = TrackedSweep("s", (make_trial("a"),)), []

    def load():
        if len(waits) < 2:
            raise StoreError("store: away")
        return sweep

    outcome = forward_until_ended(load, forwarder(sqlite_backend), lambda: len(waits) == 3, waits.append)
    assert waits == [0.5, 1.0, 10.0]
    assert outcome.rejected == ()
    assert len(sqlite_backend.history(sweep.trials[0].trial_id)) == 6
    waits.clear()
    gone = forward_until_ended(load, forwarder(sqlite_backend), lambda: True, waits.append)
    assert str(gone) == "store: away"


def test_a_locked_database_is_an_outage(sqlite_backend, forwarder, make_trial):
    """A database that another process holds locked is unavailable, and is forwarded to once it is free."""
    sweep = TrackedSweep("s", (make_trial("a"),))
    with contextlib.closing(sqlite3.connect(sqlite_backend.database.path)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        with pytest.raises(TrackingUnavailable, match="database is locked"):
            forwarder(sqlite_backend).forward(sweep)
    assert forwarder(sqlite_backend).forward(sweep).metrics_sent == 6


@pytest.fixture
def broken_server():
    """A server that answers every request with an internal error, and echoes the request's address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(500)
            self.end_headers()
            self.wfile.write(f"broken: {self.headers.get('Authorization')}".encode())

        do_POST = do_GET  # noqa: N815 (the name that http.server calls)

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def test_a_server_with_errors_is_an_outage_that_shows_no_password(broken_server, sqlite_backend, forwarder, make_trial):
    """Neither the message nor the chain of causes of a failed call carries the credentials of the URI."""
    uri = f"http://ada:s3cr%21t@127.0.0.1:{broken_server}/path?token=t0ken"
    with pytest.raises(TrackingUnavailable) as caught:
        forwarder(sqlite_backend, uri).forward(TrackedSweep("s", (make_trial("a"),)))
    message = str(caught.value)
    assert f"http://127.0.0.1:{broken_server}/path" in message
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    assert not [secret for secret in ("ada", "s3cr", "t0ken") if secret in message]


def test_a_port_where_nobody_listens_is_named_without_the_password(sqlite_backend, forwarder, make_trial):
    """The message says where, why and what to do next, and keeps the password to itself."""
    port = free_port()
    with pytest.raises(TrackingUnavailable) as caught:
        forwarder(sqlite_backend, f"http://ada:s3cret@127.0.0.1:{port}").forward(TrackedSweep("s", ()))
    assert str(caught.value) == (
        f"MLflow at http://127.0.0.1:{port} is not available: [Errno 111] Connection refused. "
        "No data is lost: `mrvae-orch sync` uploads the rest"
    )


def test_probing_says_which_mlflow_answers(backend):
    """A database or server that can be used is named by MLflow's version."""
    from importlib.metadata import version

    assert probe(backend.uri) == f"version {version('mlflow')}"


def test_probing_nothing_is_an_outage():
    """A URI that nothing can be read from is an outage with its reason, and so is one of no known kind."""
    with pytest.raises(TrackingUnavailable, match="Connection refused"):
        probe(f"http://127.0.0.1:{free_port()}")
    with pytest.raises(TrackingUnavailable, match="unsupported URI"):
        probe("nonsense://x")


def test_a_report_reads_as_a_sentence():
    """What a pass did is said in words, and what was refused is named."""
    report = ForwardReport(metrics_sent=1200, runs_created=3, artifacts_sent=1, pending=2, rejected=("trial a: bad",))
    assert str(report) == "1,200 metrics, 3 new runs, 1 file uploaded; 2 trials have not started; refused: trial a: bad"


def test_a_deleted_experiment_is_named_with_the_way_back(sqlite_backend, forwarder):
    """MLflow keeps the name of a deleted experiment, so the message says how to restore it."""
    from mlflow.tracking import MlflowClient

    forwarder(sqlite_backend).forward(TrackedSweep("s", ()))
    client = MlflowClient(sqlite_backend.uri)
    client.delete_experiment(client.get_experiment_by_name("mrvae-orch").experiment_id)
    with pytest.raises(TrackingUnavailable, match="mlflow experiments restore"):
        forwarder(sqlite_backend).forward(TrackedSweep("s", ()))


def test_two_forwarders_at_once_create_one_run_a_trial(sqlite_backend, forwarder, make_trial):
    """Passes on one store exclude each other, so that both do not look, find nothing and create."""
    sweep = TrackedSweep("s", tuple(make_trial(name) for name in "abcd"))
    threads = [threading.Thread(target=forwarder(sqlite_backend).forward, args=(sweep,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(sqlite_backend.runs()) == 5
    assert [sqlite_backend.history(trial.trial_id) for trial in sweep.trials] == [expected_history(3)] * 4


def test_a_pass_does_not_wait_for_ever_for_another(sqlite_backend, forwarder, tmp_path):
    """Where another process keeps forwarding, the message says so after a hundred tries."""
    waits = []
    with Folder(tmp_path / "store" / "mlflow-state").try_lock() as is_held:
        assert is_held
        with pytest.raises(TrackingUnavailable, match="another process"):
            forwarder(sqlite_backend, wait=waits.append).forward(TrackedSweep("s", ()))
    assert len(waits) == 100


def test_forwarding_is_silent_and_leaves_nothing_in_the_working_folder(tmp_path):
    """MLflow is imported by the first pass only, prints nothing, and creates nothing where the user is."""
    code = (
        "import pathlib, sys\n"
        "from orchestrator.tracking.records import TrackedSweep\n"
        "from orchestrator.tracking.mlflow_client import Forwarder\n"
        "from orchestrator.tracking.uri import sqlite_uri\n"
        "assert 'mlflow' not in sys.modules\n"
        "store = pathlib.Path(sys.argv[1])\n"
        "Forwarder(sqlite_uri(store / 'mlflow.db'), artifact_root=store / 'artifacts',"
        " state_folder=store / 'state').forward(TrackedSweep('s', ()))\n"
    )
    standing = tmp_path / "standing"
    standing.mkdir()
    arguments = [sys.executable, "-c", code, str(tmp_path / "a store")]
    done = subprocess.run(arguments, cwd=standing, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(standing.iterdir()) == []


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("sqlite:////home/a@b/my store/mlflow.db", "sqlite:////home/a@b/my store/mlflow.db"),
        ("https://user:pass@mlflow.lab:5000/base", "https://mlflow.lab:5000/base"),
        ("https://mlflow.lab/?token=secret#x", "https://mlflow.lab/"),
        ("postgresql://user:p@ss/word@db:5432/mlflow?password=x", "postgresql://db:5432/mlflow"),
        ("runs/mlflow.db", "runs/mlflow.db"),
    ],
)
def test_redacting_keeps_the_place_and_drops_the_credentials(uri, shown):
    """A redacted URI still says which server it is."""
    assert redact(uri) == shown


@given(
    user=st.text("QZ@:/?#%", min_size=1),
    password=st.text("QZ@:/?#%", min_size=1),
    token=st.text("QZ/?#%", min_size=1),
)
def test_no_character_of_the_credentials_is_ever_shown(user, password, token):
    """Whatever odd characters a user, a password or a token is made of, none of their letters are shown."""
    shown = redact(f"https://{user}:{password}@host/base?token={token}")
    assert "Q" not in shown
    assert "Z" not in shown
