from pathlib import Path

import pytest
from click.testing import CliRunner

from orchestrator.cli.main import cli
from orchestrator.planning.plan import plan
from orchestrator.spec.file import spec_from_text
from orchestrator.sweeps.sweep import save_sweep
from workers.running.context import Context
from workers.running.run import run_trial


@pytest.fixture(scope="session")
def train():
    """Train a sweep as a worker would, without a cluster, and leave it in a store."""

    def train(store, text):
        planned = plan(spec_from_text(text, "spec.yaml"))
        save_sweep(store, planned, now=0.0)
        for each in planned.trials:
            context = Context(
                store=store,
                sweep=planned.name,
                evaluation=each.evaluation,
                resources=each.resources,
                load_data=lambda dataset: dataset.load(Path()),
                provenance={"commit": "abc"},
            )
            assert run_trial(each.trial, context).state == "done"

    return train


@pytest.fixture
def invoke(store):
    """Run a command on the module's store; what the program did not expect is raised, not shown."""
    return lambda *arguments: CliRunner().invoke(
        cli, [*map(str, arguments), "--store", str(store.root)], catch_exceptions=False
    )
