"""A device-second is the same everywhere: in cost rows, budgets, reports, heartbeats and the fair share."""

from __future__ import annotations

import math

import pytest

from evaluation import compute
from orchestrator.costs.history import budget_of, estimate_trials, used_by
from orchestrator.driver.heartbeat import Heartbeat
from orchestrator.planning.plan import plan
from orchestrator.scheduling.admission import decide
from orchestrator.scheduling.resources import AdmittedTrial, Node, SweepState, request_of
from orchestrator.spec.file import spec_from_text
from orchestrator.sweeps.status import read_statuses
from workers.accounting.costs import read_costs
from workers.outcome import TrialState
from workers.running.context import Context
from workers.running.run import run_trial
from workers.store.store import Store
from workers.trial import Resources, Training

SPEC = """\
name: tiny
dataset: {name: digits, train_limit: 256}
architecture: {name: mlp, hidden: [32], latent_units: 4}
methods:
  - {kind: beta-vae, betas: [1]}
training: {epochs: 1, batch_size: 64, threads: 1}
evaluation: {pictures: 0}
resources: {cpus: 4}
budget: {device_hours: 1}
"""


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture(scope="module")
def ran(tmp_path_factory, digits_data):
    """A trial that holds four CPUs and computes on one, in a store, after it was run."""
    store, planned = Store(tmp_path_factory.mktemp("runs")), plan(spec_from_text(SPEC, "x.yaml"))
    (each,) = planned.trials
    context = Context(store, "tiny", each.evaluation, each.resources, lambda _: digits_data)
    assert run_trial(each.trial, context).state == TrialState.DONE
    return store, planned, math.fsum(row.seconds for row in read_costs(store.trial(each.trial_id)))


def test_what_is_stored_counts_threads_not_the_cpus_held(ran):
    store, planned, seconds = ran
    (each,) = planned.trials
    rows = read_costs(store.trial(each.trial_id))
    assert {row.device_count for row in rows} == {1.0}
    pieces = compute.spent(compute.Run(each.trial_id, True, tuple(rows)))
    assert sum(compute.device_seconds(pieces, useful=True).values()) == pytest.approx(seconds)
    assert used_by(store, planned) == pytest.approx(seconds)
    budget = budget_of(store, planned, estimate_trials(store, planned.trials, read_statuses(store, planned.trials)))
    assert budget.used == pytest.approx(seconds)


def test_what_runs_counts_as_what_is_stored(ran):
    """So the figure that `watch` shows, and a sweep's turn, are the same after a resubmit."""
    store, planned, seconds = ran
    (each,) = planned.trials
    clock = Clock()
    heartbeat = Heartbeat(store.sweep("tiny"), clock=clock)
    with heartbeat.stage(planned.trials, list):
        heartbeat.started(each.trial_id, 1)
        clock.now += seconds
        assert heartbeat.snapshot().device_seconds == pytest.approx(used_by(store, planned))
    admitted = AdmittedTrial("t", request_of(each.resources, each.trial.training), seconds=seconds)
    assert admitted.device_seconds == pytest.approx(used_by(store, planned))


def test_fair_share_charges_what_runs_by_the_same_measure():
    """A sweep that holds four CPUs for one thread is charged as little as one that holds one: it is next by name."""
    wide, narrow = (request_of(Resources(cpus=cpus), Training(epochs=1)) for cpus in (4.0, 1.0))
    sweeps = [
        SweepState("a", running=(AdmittedTrial("t", wide, ("n",)),), waiting=((wide, 1),)),
        SweepState("b", running=(AdmittedTrial("t", narrow, ("n",)),), waiting=((narrow, 1),)),
    ]
    decisions = decide([Node("n", cpus=9.0)], sweeps)
    assert {name: decision.start for name, decision in decisions.items()} == {"a": 1, "b": 0}


@pytest.mark.parametrize(
    ("resources", "threads", "devices"),
    [
        (Resources(cpus=4.0), 1, 1.0),
        (Resources(cpus=1.0), 2, 2.0),
        (Resources(cpus=4.0, ranks=2), 3, 6.0),
        (Resources(cpus=4.0, gpus=1.0), 2, 1.0),
        (Resources(gpus=0.5), 2, 0.5),
        (Resources(gpus=2.0, ranks=4), 1, 8.0),
    ],
)
def test_devices_are_gpus_or_else_a_core_for_each_thread(resources, threads, devices):
    training = Training(epochs=1, threads=threads)
    assert resources.device_count(training) == devices
    assert request_of(resources, training).device_count == devices
