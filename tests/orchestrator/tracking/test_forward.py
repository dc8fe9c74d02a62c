"""The process beside a submit, against a real MLflow server behind a proxy that holds its answers."""

import io
import time

import pytest
from rich.console import Console

from command_line import SPEC, wait_until
from fault_proxy import Delay, FaultProxy
from mlflow_server import Backend
from orchestrator.spec.file import read_spec
from orchestrator.sweeps.selection import resolve
from orchestrator.sweeps.sweep import save_sweep
from orchestrator.tracking.forward import LOG, Forwarding, forward_sweeps
from workers.outcome import Outcome
from workers.running.run import run_trial
from workers.store.store import Store


@pytest.fixture
def sweep(tmp_path):
    """A sweep of one's own whose two trials are done."""
    (tmp_path / "spec.yaml").write_text(SPEC.replace("- {kind: mr-vae, beta_range: [0.01, 10]}\n", ""))
    store = Store(tmp_path / "runs")
    return save_sweep(store, resolve(read_spec(tmp_path / "spec.yaml", (), None), store), time.time())


def test_a_submit_ends_without_mlflow_and_says_what_is_left(tmp_path, sweep, make_context, mlflow_server):
    """Forwarding that does not end in time is ended, remembers what it sent, and one sync sends the rest."""
    for planned in sweep.plan.trials:
        context = make_context(planned.trial, sweep=sweep.name, evaluation=planned.evaluation)
        assert run_trial(planned.trial, context) == Outcome("done")
    store, console = Store(tmp_path / "runs"), Console(file=io.StringIO(), width=1000)
    with FaultProxy(mlflow_server.port) as proxy:
        seen = []
        proxy.inject(Delay(3600), matches=lambda request: seen.append(request) or third_creation(seen))
        with Forwarding(store, sweep.name, proxy.url) as forwarding:
            wait_until(lambda: proxy.requests(Delay))
            forwarding.finish(console, seconds=1)
        said = console.file.getvalue()
        assert "MLflow is behind (1 of 2 runs not yet uploaded): MLflow did not accept everything within 1 s" in said
        proxy.clear()
        assert forward_sweeps(store, [sweep.name], proxy.url) == 0
    runs = Backend(mlflow_server.uri, mlflow_server.database, "mrvae-orch").runs()
    trial_ids = [planned.trial_id for planned in sweep.plan.trials]
    assert sorted(run["trial_id"] for run in runs if run.get("mrvae.sweep.tiny")) == sorted(trial_ids)


def test_what_was_forwarded_starts_no_process(tmp_path, sweep, make_context, mlflow_server):
    """As long as nothing of the sweep changes."""
    store, console = Store(tmp_path / "runs"), Console(file=io.StringIO(), width=1000)
    log = store.sweep(sweep.name).path() / LOG

    def starts_a_process():
        log.unlink(missing_ok=True)
        with Forwarding(store, sweep.name, mlflow_server.uri) as forwarding:
            forwarding.finish(console)
        assert console.file.getvalue().splitlines()[-1] == f"MLflow: {mlflow_server.uri}"
        return log.exists()

    for planned in sweep.plan.trials:
        context = make_context(planned.trial, sweep=sweep.name, evaluation=planned.evaluation)
        assert run_trial(planned.trial, context) == Outcome("done")
    assert starts_a_process()
    assert not starts_a_process()
    (tmp_path / "runs/sweeps/tiny/report").mkdir()
    (tmp_path / "runs/sweeps/tiny/report/report.md").write_text("a first report")
    assert starts_a_process()
    assert not starts_a_process()


def third_creation(seen):
    """Return whether the parent and the first trial have their runs, and the second trial is to get one."""
    return len([request for request in seen if request.path.endswith("/runs/create")]) >= 3
