"""Real sweeps tracked by a real MLflow server that dies, locks, delays and lies; the sweeps do not notice.

`make test-all` has the first one on SQLite. `make test-services` has them all, on SQLite and on PostgreSQL.
"""

import contextlib
import os
import shutil
from functools import partial

import pytest

from command_line import SPEC, CommandLine, wait_until
from fault_proxy import Answer, Cut, CutAnswer, Delay, FaultProxy, LoseAnswer
from mlflow_server import Backend, MLflowServer, sqlite_at
from orchestrator.tracking.names import allowed_key
from postgres_server import PostgresServer
from workers.running.metric_log import read_entries

BOUND_SECONDS = 400
"""Ends a broken test; a busy machine takes minutes for what a quiet one does in seconds."""
wait_for = partial(wait_until, seconds=BOUND_SECONDS)
EPOCHS = 200
"""At a step a second, longer than MLflow takes to have the first run."""
pytestmark = pytest.mark.slow
ASKED = pytest.mark.skipif(not os.environ.get("MRVAE_SERVICES"), reason="`make test-services` runs it")
BOTH = pytest.mark.parametrize("database", ["sqlite", pytest.param("postgresql", marks=ASKED)], indirect=True)


@pytest.fixture
def command_line(tmp_path, pace):
    return CommandLine(tmp_path, **pace.variables)


@pytest.fixture
def postgres():
    with contextlib.closing(PostgresServer()) as postgres:
        postgres.start()
        yield postgres


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request, tmp_path):
    if request.param == "postgresql":
        return request.getfixturevalue("postgres").database
    return sqlite_at(shutil.copy(request.getfixturevalue("empty_mlflow"), tmp_path / "server.db"))


@pytest.fixture
def server(tmp_path, database):
    server = MLflowServer(tmp_path, database)
    server.start()
    yield server
    server.kill()


@pytest.fixture
def backend(server):
    return Backend(server.uri, server.database, "mrvae-orch")


@pytest.fixture
def proxy(server):
    with FaultProxy(server.port, seed=3) as proxy:
        yield proxy


@pytest.fixture
def submit(command_line, pace, proxy):
    """A sweep that is being submitted, tracked through the proxy, and goes on slowly until it is to hurry."""
    command_line.write_spec(pace.of(SPEC, EPOCHS))
    process = command_line.start("submit", "spec.yaml", "--tracking-uri", proxy.url)
    yield process
    process.kill()
    process.communicate()


def wait_for_another_trial(command_line, pace):
    """Wait until one trial more is done: what MLflow suffers holds up no training."""
    done = len(done_trials(command_line))
    pace.hurry()
    wait_for(lambda: len(done_trials(command_line)) > done)


def wait_for_runs(backend, submit, number=1):
    wait_for(lambda: backend.query("select count(*) from tags where key = 'trial_id'")[0][0] >= number)
    assert submit.poll() is None, "the sweep ended before its runs appeared"


def done_trials(command_line):
    return list(command_line.store.glob("trials/*/manifest.json"))


def check_ended_well(submit):
    out, err = submit.communicate(timeout=BOUND_SECONDS)
    assert submit.returncode == 0, out + err
    assert "Traceback" not in out + err
    return out


def check_all_is_there_once(command_line, backend):
    """What one `sync` leaves behind is each trial's log, row by row, in one run below the sweep's one parent."""
    synced = command_line.run("sync", "tiny")
    assert synced.code == 0, synced.out + synced.err
    logs = {path.parent.name: path for path in command_line.store.glob("trials/*/metrics.jsonl")}
    assert len(logs) == len(done_trials(command_line)) == 3
    runs = backend.runs()
    parent = backend.parent_of("tiny")
    assert sorted(run.get("trial_id", "") for run in runs) == ["", *sorted(logs)]
    assert {run.get("mlflow.parentRunId") for run in runs} == {None, parent["run_id"]}
    assert {run["status"] for run in runs} == {"FINISHED"}
    for trial_id, path in logs.items():
        assert backend.history(trial_id) == logged_rows(path)
    again = command_line.run("sync", "tiny")
    assert "0 metrics and 0 runs uploaded" in again.out


def logged_rows(path):
    entries, _ = read_entries(path, 0)
    return sorted(
        (allowed_key(name), entry.step, entry.timestamp_ms, value, 0)
        for entry in entries
        for name, value in entry.metrics
    )


@BOTH
def test_a_server_killed_and_started_again(command_line, pace, server, backend, submit):
    """After kill -9 of MLflow's server in a sweep the trials go on, and the server that comes back gets the rest."""
    wait_for_runs(backend, submit)
    server.kill()
    wait_for_another_trial(command_line, pace)
    server.start()
    check_ended_well(submit)
    check_all_is_there_once(command_line, backend)


@ASKED
def test_answers_that_never_come_hold_up_no_training(command_line, pace, backend, proxy, submit):
    """All trials end, and the submit too, while every answer is held back; then one sync sends everything."""
    proxy.inject(Delay(3600))
    pace.hurry()
    wait_for(lambda: len(done_trials(command_line)) == 3)
    assert proxy.requests(Delay)
    out = check_ended_well(submit)
    assert "MLflow is behind (3 of 3 runs not yet uploaded)" in out
    proxy.clear()
    check_all_is_there_once(command_line, backend)


@ASKED
def test_answers_that_come_too_late_in_the_middle_of_a_sweep(command_line, pace, backend, proxy, submit):
    """Answers half a minute late, to requests that were done, change nothing but when the rest appears."""
    wait_for_runs(backend, submit)
    proxy.inject(Delay(30))
    wait_for(lambda: proxy.requests(Delay))
    wait_for_another_trial(command_line, pace)
    proxy.clear()
    check_ended_well(submit)
    check_all_is_there_once(command_line, backend)


@ASKED
def test_errors_and_answers_that_are_lost(command_line, pace, backend, proxy, submit):
    """Of ten requests three fail in the whole sweep, some of them after the server did what they asked for."""
    faults = (Answer(500), Answer(503), LoseAnswer(), Cut(), CutAnswer(50))
    for fault in faults:
        proxy.inject(fault, share=0.06)
    pace.hurry()
    check_ended_well(submit)
    assert proxy.requests(*map(type, faults))
    proxy.clear()
    check_all_is_there_once(command_line, backend)


@ASKED
def test_a_database_that_is_locked(command_line, pace, backend, database, submit):
    """While another connection holds the tables, trials end; what waits at the server's lock doubles nothing."""
    wait_for_runs(backend, submit)
    with contextlib.closing(database.connect()) as holder:
        if database.path:
            holder.execute("BEGIN EXCLUSIVE")
        else:
            holder.execute("LOCK TABLE runs, metrics, tags IN ACCESS EXCLUSIVE MODE")
        wait_for_another_trial(command_line, pace)
        holder.rollback()
    check_ended_well(submit)
    check_all_is_there_once(command_line, backend)


@ASKED
@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_postgresql_killed_and_started_again(command_line, pace, postgres, backend, submit):
    """After kill -9 of the database behind MLflow the sweep goes on, and it gets the rest when it is back."""
    wait_for_runs(backend, submit)
    postgres.kill()
    wait_for_another_trial(command_line, pace)
    postgres.start()
    check_ended_well(submit)
    check_all_is_there_once(command_line, backend)


@ASKED
@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_both_servers_killed_again_and_again(command_line, pace, postgres, server, backend, submit):
    """Neither server stays up for long in the whole sweep."""
    wait_for_runs(backend, submit)
    while submit.poll() is None:
        postgres.kill()
        server.kill()
        postgres.start()
        server.start()
        pace.hurry()
        with contextlib.suppress(Exception):
            submit.wait(5)
    check_ended_well(submit)
    check_all_is_there_once(command_line, backend)
