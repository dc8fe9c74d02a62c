"""Sweeps of three drivers on one real cluster: whose turn it is, and that giving way loses nothing."""

import pytest

from command_line import SPEC, wait_until
from undisturbed import has_undisturbed_bits
from workers.accounting.costs import read_costs
from workers.store.store import Store

pytestmark = pytest.mark.slow
EPOCHS = 500
"""At a step a second, longer than all that is waited for."""
CROWD = (
    SPEC.replace("name: tiny", "name: crowd")
    .replace("  - {kind: mr-vae, beta_range: [0.01, 10]}\n", "")
    .replace("betas: [0.1, 1]", "betas: [0.1, 0.3, 1]")
    .replace("cpus: 2", "cpus: 1")
)
SINGLE = (
    SPEC.replace("name: tiny", "name: single")
    .replace("  - {kind: beta-vae, betas: [0.1, 1]}\n", "")
    .replace("cpus: 2", "cpus: 1")
)
URGENT = SINGLE.replace("name: single", "name: urgent").replace("seeds: [0]", "seeds: [7]") + "priority: high\n"


def send(laptop, cluster, spec, name):
    laptop.write_spec(spec, f"{name}.yaml")
    place = ("--store", str(laptop.store), "--address", cluster.address)
    sent = laptop.run("submit", f"{name}.yaml", *place, "--checkpoint-every", "0.5")
    assert sent.code == 0, sent.err


def driver(store, name):
    return store.sweep(name).read_json("driver.json") or {}


def attempts(laptop, store, name) -> dict[str, dict[int, float]]:
    """When each attempt at each trial of a sweep began."""
    trials = [trial["trial_id"] for trial in laptop.run("status", name, "--json").json["trials"]]
    return {trial_id: {row.attempt: row.started_at for row in read_costs(store.trial(trial_id))} for trial_id in trials}


def test_a_single_run_is_next_and_an_urgent_one_makes_room(laptop, cluster, token, pace):
    """Where one sweep holds the cluster, one of the same priority has the next room, and one of a high one has it now.

    The trial that made room went on from what it had saved: its bits are those of one that was left alone.
    """
    store = Store(laptop.store)
    laptop.variables |= pace.variables
    send(laptop, cluster, pace.of(CROWD, EPOCHS), "crowd")
    wait_until(lambda: len(driver(store, "crowd").get("running", ())) == 2)
    send(laptop, cluster, SINGLE, "single")
    wait_until(lambda: driver(store, "single").get("state") == "waiting")
    send(laptop, cluster, URGENT, "urgent")
    for name in ("single", "urgent"):
        wait_until(lambda name=name: driver(store, name).get("state") == "ended")
    pace.hurry()
    wait_until(lambda: driver(store, "crowd").get("state") == "ended")

    crowd = attempts(laptop, store, "crowd")
    ((single,),) = (began.values() for began in attempts(laptop, store, "single").values())
    ((urgent,),) = (began.values() for began in attempts(laptop, store, "urgent").values())
    first, second, *later = sorted(at for began in crowd.values() for at in began.values())
    assert max(first, second) < urgent < single < min(later)
    assert [driver(store, name)["preemptions"] for name in ("crowd", "single", "urgent")] == [1, 0, 0]
    (preempted,) = (trial_id for trial_id, began in crowd.items() if len(began) == 2)
    assert has_undisturbed_bits(laptop.trial_folder(preempted))
    rows = read_costs(store.trial(preempted))
    assert sum(row.images for row in rows if row.phase == "train") == EPOCHS * 256
