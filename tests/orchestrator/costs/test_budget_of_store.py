"""A budget on what was really trained, in a real store."""

from __future__ import annotations

import pytest

from orchestrator.costs.history import budget_of, estimate_trials, spending_of, used_by
from orchestrator.planning.plan import plan
from orchestrator.spec.file import spec_from_text
from orchestrator.sweeps.status import read_statuses
from workers.accounting.costs import read_costs
from workers.running.context import Context
from workers.running.run import run_trial
from workers.store.store import Store

SPEC = """\
name: tiny
dataset: {name: digits, train_limit: 256}
architecture: {name: mlp, hidden: [32], latent_units: 4}
methods:
  - {kind: beta-vae, betas: [0.1, 1]}
training: {epochs: 3, batch_size: 64}
evaluation: {pictures: 0}
"""


@pytest.fixture
def run(tmp_path, digits_data):
    """Run a planned trial as a worker would; with `steps` it is asked to stop after so many."""

    def run_one(each, steps=None):
        asked = iter(range(10_000))
        context = Context(
            store=Store(tmp_path / "runs"),
            sweep="tiny",
            evaluation=each.evaluation,
            resources=each.resources,
            load_data=lambda _: digits_data,
            should_stop=lambda: steps is not None and next(asked) >= steps,
        )
        return run_trial(each.trial, context).state

    return run_one


def budgeted(store, hours):
    planned = plan(spec_from_text(f"{SPEC}budget: {{device_hours: {hours!r}}}\n", "x.yaml"))
    estimates = estimate_trials(store, planned.trials, read_statuses(store, planned.trials))
    return planned, budget_of(store, planned, estimates)


def test_what_really_ran_counts_until_the_budget_is_raised(tmp_path, run):
    """A stopped attempt and a whole one are used; the next trial starts only under a larger budget."""
    store = Store(tmp_path / "runs")
    (first, second), generous = budgeted(store, 1.0)[0].trials, budgeted(store, 1.0)[1]
    assert generous.may_launch(first) is None
    assert run(first, steps=6) == "stopped"
    assert generous.may_launch(first) is None
    assert run(first) == "done"
    assert generous.may_launch(second) is None
    seconds = sum(row.seconds * row.device_count for row in read_costs(store.trial(first.trial_id)))
    assert budgeted(store, 1.0)[1].used == pytest.approx(seconds)
    planned, tight = budgeted(store, seconds / 3600)
    assert used_by(store, planned) == pytest.approx(seconds)
    assert "would be exceeded" in tight.may_launch(second)
    assert "1 trial left" in tight.conclusion([second])
    assert budgeted(store, 1.0)[1].may_launch(second) is None


def test_both_attempts_of_a_resumed_trial_stand_in_its_spending(tmp_path, run):
    """The stopped one is named, and what it trained and kept is not lost."""
    store = Store(tmp_path / "runs")
    planned, _ = budgeted(store, 1.0)
    first = planned.trials[0]
    assert run(first, steps=6) == "stopped"
    assert run(first) == "done"
    found = spending_of(store, read_statuses(store, planned.trials)[first.trial_id])
    assert [(each.number, each.outcome) for each in found.attempts] == [(1, "interrupted"), (2, "done")]
    train = sum(row.seconds for row in read_costs(store.trial(first.trial_id)) if row.phase == "train")
    assert 0 < found.lost[False] <= found.used[False] - train
