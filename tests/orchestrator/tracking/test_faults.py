"""A real MLflow server behind a wire that fails: whatever is cut, lost or late, all stands there once."""

import shutil

import pytest

from fault_proxy import Answer, Cut, CutAnswer, FaultProxy, Late, LoseAnswer
from mlflow_server import Backend
from orchestrator.tracking.mlflow_client import Forwarder, TrackingUnavailable
from orchestrator.tracking.records import TrackedSweep
from tracked_trials import expected_history, tracked_trial


@pytest.fixture
def proxy(mlflow_server):
    with FaultProxy(mlflow_server.port, seed=1) as proxy:
        yield proxy


@pytest.fixture
def backend(mlflow_server, request):
    return Backend(mlflow_server.uri, mlflow_server.database, request.node.name)


@pytest.fixture
def sweep(tmp_path):
    return TrackedSweep("s", tuple(tracked_trial(tmp_path / "trials", name) for name in "abcdef"))


@pytest.fixture
def forward(proxy, backend, tmp_path):
    """One pass through the proxy, as in a process of its own; None where it was cut short."""

    def forward(sweep):
        store = tmp_path / "store"
        forwarder = Forwarder(
            proxy.url,
            artifact_root=store / "mlartifacts",
            state_folder=store / "mlflow-state",
            experiment=backend.experiment,
        )
        try:
            return forwarder.forward(sweep)
        except TrackingUnavailable:
            return None

    return forward


def check_all_is_there_once(backend, sweep):
    parent = backend.parent_of(sweep.name)
    children = [backend.run_of(trial.trial_id) for trial in sweep.trials]
    assert len(backend.runs()) == 1 + len(children)
    assert {run["mlflow.parentRunId"] for run in children} == {parent["run_id"]}
    assert {run["status"] for run in [parent, *children]} == {"FINISHED"}
    assert [backend.history(trial.trial_id) for trial in sweep.trials] == [expected_history(3)] * len(children)


def creates(request):
    return request.path.endswith("/runs/create")


def test_a_wire_that_fails_in_every_way_loses_and_doubles_nothing(proxy, backend, forward, sweep):
    """Of ten requests two fail, before or after the server acted on them; passes go on until one is through."""
    faults = (Answer(500), Answer(503), LoseAnswer(), Cut(), CutAnswer(30))
    for fault in faults:
        proxy.inject(fault, share=0.04)
    passes = 1
    while forward(sweep) is None:
        passes += 1
        assert passes < 500
    assert {request.fault for request in proxy.requests(*map(type, faults))} == set(faults)
    check_all_is_there_once(backend, sweep)
    proxy.clear()
    assert forward(sweep).runs_created == 0
    check_all_is_there_once(backend, sweep)


def test_a_run_that_was_created_without_an_answer_is_found(proxy, backend, forward, sweep):
    """The server made each run, and nobody learned of it: it is found by its tag, not made again."""
    proxy.inject(LoseAnswer(), matches=creates)
    passes = 0
    while forward(sweep) is None:
        passes += 1
    assert (passes, len(proxy.requests(LoseAnswer))) == (7, 7)
    check_all_is_there_once(backend, sweep)


def test_runs_that_a_slow_server_creates_after_all_are_removed(proxy, backend, forward, sweep):
    """Requests that are done when they were long sent again leave one run a trial and one of the sweep."""
    for _ in range(2):
        proxy.inject(Late(), count=1, matches=creates)
        assert forward(sweep) is None
    assert forward(sweep) is not None
    check_all_is_there_once(backend, sweep)
    proxy.clear()
    assert len(backend.runs()) == 1 + 6 + 2
    forward(sweep)
    check_all_is_there_once(backend, sweep)


def test_late_runs_are_removed_without_the_memory_of_what_was_sent(proxy, backend, forward, sweep, tmp_path):
    """Where the cache is lost too, the run with the metrics is kept, and the children have the parent that is left."""
    for _ in range(2):
        proxy.inject(Late(), count=1, matches=creates)
        assert forward(sweep) is None
    forward(sweep)
    proxy.clear()
    shutil.rmtree(tmp_path / "store" / "mlflow-state")
    forward(sweep)
    check_all_is_there_once(backend, sweep)


def test_a_status_that_arrives_late_is_put_right(proxy, backend, forward, sweep):
    """A request that is done after a newer one about the same run does not have the last word."""
    running = tracked_trial(sweep.trials[0].log_path.parents[1], "a", state="pending", ended_ms=None)
    proxy.inject(Late(), count=1, matches=lambda request: request.path.endswith("/runs/update"))
    assert forward(TrackedSweep("s", (running,))) is None
    assert forward(sweep) is not None
    proxy.clear()
    assert backend.run_of(running.trial_id)["status"] == "SCHEDULED"
    forward(sweep)
    check_all_is_there_once(backend, sweep)
