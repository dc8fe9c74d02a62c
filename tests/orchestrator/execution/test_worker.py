"""What a worker makes of a job that it cannot run, and what one stale sweep hides."""

import json
from pathlib import Path

from click.testing import CliRunner

from command_line import SPEC
from orchestrator.cli.main import cli
from orchestrator.execution.worker import Job, WorkerCallbacks, WorkerSettings, run_job
from orchestrator.planning.plan import plan
from orchestrator.spec.file import spec_from_text
from orchestrator.sweeps.sweep import save_sweep
from workers.store.store import Store


def test_a_trial_that_a_worker_does_not_know_fails_with_the_reason(tmp_path):
    """As where a plug-in is missing there: no exception, which would be tried again as a worker's death."""
    planned = plan(spec_from_text(SPEC, "spec")).trials[0]
    identity = json.loads(json.dumps(planned.trial.to_json()))
    identity["architecture"]["name"] = "elsewhere"
    job = Job(planned.trial_id, identity, planned.evaluation, planned.resources)
    settings = WorkerSettings(str(tmp_path), "tiny", "data", 30.0)
    outcome = run_job(job, settings, WorkerCallbacks(should_stop=lambda: False, report=lambda _: None))
    assert outcome.state == "failed"
    assert "'elsewhere'" in outcome.message


def test_a_sweep_that_is_no_longer_known_hides_no_other(tmp_path):
    """`status` names it with what is wrong, and shows the rest."""
    store = Store(tmp_path)
    save_sweep(store, plan(spec_from_text(SPEC, "spec")), now=0.0)
    stale = Path(store.sweep("stale").path())
    stale.mkdir(parents=True)
    (stale / "spec.yaml").write_text(SPEC.replace("name: tiny", "name: stale").replace("name: mlp", "name: gone"))
    shown = CliRunner().invoke(cli, ["status", "--store", str(tmp_path)])
    assert shown.exit_code == 0
    assert "tiny: 3 pending" in shown.stdout
    assert "stale: " in shown.stderr
    assert "gone" in shown.stderr
