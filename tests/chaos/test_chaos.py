"""A fixed and short part of `make chaos`: two sweeps on one real cluster, each fault once, and nothing is lost."""

import shutil
import time

import pytest

from chaos.faults import (
    HOUR,
    checkpoint_cut,
    driver_killed,
    manifest_cut,
    node_killed,
    parquet_cut,
    s3_cuts,
    s3_fails,
    second_submit,
    worker_killed,
)
from chaos.runner import Runner
from chaos.world import World
from mlflow_server import MLflowServer, sqlite_at
from workers.accounting.costs import read_costs

pytestmark = pytest.mark.slow
FAULTS = (
    *(s3_fails, s3_cuts, worker_killed, second_submit, checkpoint_cut),
    *(manifest_cut, parquet_cut, driver_killed, node_killed),
)


@pytest.fixture
def server(tmp_path, empty_mlflow):
    server = MLflowServer(tmp_path, sqlite_at(shutil.copy(empty_mlflow, tmp_path / "server.db")))
    server.start()
    yield server
    server.kill()


def test_nothing_is_lost_whatever_fails(object_server, server):
    """Every trial is done once, with the bits, metrics and costs it should have, and nothing is left running."""
    said = []
    with World(object_server, server, said.append, epochs=200, clocks=(HOUR, 0)) as world:
        runner = Runner(world, seed=1)
        runner.keep_busy()
        runs = list(world.runs)
        for fault in FAULTS:
            assert runner.hit(fault), "\n".join([*said, f"not hit: {fault.__name__}", *world.lost])
        world.finish()
        began = [
            row.started_at
            for run in runs
            for each in run.plan.trials
            for row in read_costs(run.store.trial(each.trial_id))
        ]
        assert max(began) > time.time() + HOUR / 2, "the node whose clock is off had nothing to do"
    assert not world.lost, "\n".join([*said, *world.lost])
