"""Sweeps of three drivers on one real cluster: whose turn it is, and that giving way loses nothing."""

import pytest
import safetensors.torch
import torch

from command_line import SPEC, wait_until
from orchestrator.sweeps import load_sweep
from ray_cluster import RayCluster
from undisturbed import undisturbed_tensors
from workers.costs import read_costs
from workers.store import Store

BOUND_SECONDS = 600
# A job takes a while to start, and finds the first two of these trials still at work.
CROWD = (
    SPEC.replace("name: tiny", "name: crowd")
    .replace("  - {kind: mr-vae, beta_range: [0.01, 10]}\n", "")
    .replace("betas: [0.1, 1]", "betas: [0.1, 0.3, 1]")
    .replace("epochs: 3", "epochs: 4000")
    .replace("cpus: 2", "cpus: 1")
)
SINGLE = (
    SPEC.replace("name: tiny", "name: single")
    .replace("  - {kind: beta-vae, betas: [0.1, 1]}\n", "")
    .replace("cpus: 2", "cpus: 1")
)
URGENT = SINGLE.replace("name: single", "name: urgent").replace("seeds: [0]", "seeds: [7]") + "priority: high\n"


@pytest.fixture
def cluster():
    """Two cores, for two trials at once."""
    started = RayCluster()
    yield started
    started.end()


def send(laptop, cluster, spec, name):
    laptop.write_spec(spec, f"{name}.yaml")
    sent = laptop.ask("submit", f"{name}.yaml", "--address", cluster.address, "--checkpoint-every", "0.5")
    assert sent.code == 0, sent.err


def driver(store, name):
    return store.sweep(name).read_json("driver.json") or {}


def attempts(store, name) -> dict[str, dict[int, float]]:
    """When each attempt at each trial of a sweep began."""
    trials = [planned.trial_id for planned in load_sweep(store, name).plan.trials]
    return {trial_id: {row.attempt: row.started_at for row in read_costs(store.trial(trial_id))} for trial_id in trials}


def test_a_single_run_is_next_and_an_urgent_one_makes_room(laptop, cluster, token, tmp_path):
    """Where one sweep holds the cluster, one of the same priority has the next room, and one of a high one has it now.

    The trial that made room went on from what it had saved: its bits are those of one that was left alone.
    """
    store = Store(laptop.store)
    send(laptop, cluster, CROWD, "crowd")
    wait_until(lambda: len(driver(store, "crowd").get("running", ())) == 2, BOUND_SECONDS)
    send(laptop, cluster, SINGLE, "single")
    wait_until(lambda: driver(store, "single").get("state") == "waiting", BOUND_SECONDS)
    send(laptop, cluster, URGENT, "urgent")
    for name in ("single", "urgent", "crowd"):
        wait_until(lambda name=name: driver(store, name).get("state") == "ended", BOUND_SECONDS)
        assert laptop.ask("status", name).code == 0

    crowd = attempts(store, "crowd")
    ((single,),) = (began.values() for began in attempts(store, "single").values())
    ((urgent,),) = (began.values() for began in attempts(store, "urgent").values())
    first, second, *later = sorted(at for began in crowd.values() for at in began.values())
    assert max(first, second) < urgent < single < min(later)
    assert [driver(store, name)["preemptions"] for name in ("crowd", "single", "urgent")] == [1, 0, 0]
    (preempted,) = (trial_id for trial_id, began in crowd.items() if len(began) == 2)
    found = safetensors.torch.load(store.trial(preempted).read("checkpoint/final.safetensors"))
    expected = undisturbed_tensors(laptop.trial_folder(preempted), Store(tmp_path / "undisturbed"))
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    rows = read_costs(store.trial(preempted))
    assert sum(row.images for row in rows if row.phase == "train") == 4000 * 256
