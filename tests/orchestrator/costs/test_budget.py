from __future__ import annotations

import pytest

from evaluation.records import Cost
from models.architectures.mlp import MLP
from orchestrator.costs.budget import Budget, device_seconds, hours
from orchestrator.planning.plan import PlannedTrial
from workers.data.digits import Digits
from workers.trial import BetaVAE, Evaluation, Objective, Resources, Training, Trial

CPU, GPU = "some processor", "NVIDIA H200"


def planned(beta, gpus=0.0):
    trial = Trial(Digits(), MLP(hidden=(16,)), Objective(), BetaVAE(beta), Training(epochs=2), seed=0)
    return PlannedTrial(trial, trial.trial_id, Evaluation((beta,)), Resources(gpus=gpus), "β-VAE", ())


def cost(seconds, outcome="done", attempt=1, count=1.0, kind=CPU, phase="train"):
    return Cost("id", attempt, phase, outcome, seconds, kind, count, 0, None, None, None, 0.0, "host")


FIRST, SECOND, THIRD = TRIALS = [planned(beta) for beta in (1.0, 2.0, 3.0)]


class Store:
    """Cost rows by trial, and how often they were read; a clock that a test sets."""

    def __init__(self):
        self.rows = {}
        self.read = 0
        self.now = 0.0

    def costs(self, trial_id):
        self.read += 1
        self.now += 0.001
        return self.rows.get(trial_id, [])

    def put(self, trial, *rows):
        self.rows[trial.trial_id] = list(rows)

    def budget(self, limit, expected=100.0, share_left=lambda _: 1.0, trials=TRIALS):
        of_each = {trial.trial_id: expected for trial in trials}
        return Budget(limit, trials, of_each, self.costs, share_left, clock=lambda: self.now)


@pytest.fixture
def store():
    return Store()


def test_device_seconds_are_seconds_of_all_devices_held():
    """Four ranks that take ten seconds cost forty."""
    assert device_seconds([cost(10, count=4.0), cost(2, "failed", attempt=2)], on_gpu=False) == 42


def test_hours_of_gpus_and_of_cores_are_never_added():
    """A GPU sweep's budget leaves out what its trials once took on cores, and the other way round."""
    rows = [cost(10), cost(5, kind=GPU, count=2.0)]
    assert (device_seconds(rows, on_gpu=True), device_seconds(rows, on_gpu=False)) == (10, 10)
    assert hours(7200, on_gpu=True) == "2 GPU-hours"
    assert hours(4.5e6, on_gpu=False) == "1,250 CPU-core-hours"


def test_trials_start_until_the_budget_would_be_passed(store):
    """What runs counts with all that is expected of it, though it has cost nothing yet."""
    budget = store.budget(limit=250)
    assert budget.may_launch(FIRST) is None
    assert budget.may_launch(SECOND) is None
    assert budget.may_launch(THIRD) == (
        "budget of 0.0694 CPU-core-hours would be exceeded: 0 used, about 0.0556 more for running trials, "
        "about 0.0278 for the next trial"
    )


def test_what_was_used_before_counts_in_all_attempts(store):
    """A driver that starts anew finds in the store what failed, was killed, interrupted and done."""
    store.put(FIRST, cost(50, "failed"), cost(20, "killed", attempt=2), cost(30, "interrupted", attempt=3))
    store.put(SECOND, cost(60), cost(41, phase="evaluate"))
    assert store.budget(limit=300).may_launch(THIRD) is not None
    assert store.budget(limit=301).may_launch(THIRD) is None


def test_a_trial_that_took_less_than_expected_leaves_room(store):
    """As soon as it has ended, the rest of its expectation is free again."""
    budget = store.budget(limit=190)
    assert budget.may_launch(FIRST) is None
    assert budget.may_launch(SECOND) is not None
    store.put(FIRST, cost(80))
    assert budget.may_launch(SECOND) is None
    assert budget.used == 80


def test_a_trial_that_takes_longer_than_expected_counts_with_what_it_takes(store):
    """No expectation hides what is used already."""
    budget = store.budget(limit=300)
    assert budget.may_launch(FIRST) is None
    store.put(FIRST, cost(210, "running"))
    store.now += 10
    assert budget.may_launch(SECOND) is not None


def test_trials_that_ended_correct_what_is_expected_of_others(store):
    """If the first takes twice as long as expected, so will the rest."""
    budget = store.budget(limit=399)
    assert budget.may_launch(FIRST) is None
    store.put(FIRST, cost(200))
    store.now += 10
    assert "about 0.0556 for the next trial" in budget.may_launch(SECOND)


def test_a_failed_trial_corrects_no_expectation(store):
    """It was not trained to its end, so it tells nothing of how long one takes."""
    budget = store.budget(limit=150)
    assert budget.may_launch(FIRST) is None
    store.put(FIRST, cost(1, "failed"))
    store.now += 10
    assert budget.may_launch(SECOND) is None
    assert "about 0.0278 for the next trial" in budget.may_launch(THIRD)


def test_a_retry_is_asked_about_like_any_launch(store):
    """What its attempts have cost is used, and only what is left of it is expected."""
    shares = {"left": 1.0}
    budget = store.budget(limit=150, share_left=lambda _: shares["left"])
    assert budget.may_launch(FIRST) is None
    store.put(FIRST, cost(90, "running"))
    shares["left"] = 0.7
    assert budget.may_launch(FIRST) is not None
    shares["left"] = 0.6
    assert budget.may_launch(FIRST) is None


def test_launching_reads_the_costs_of_few_trials(store):
    """All are read once at first; then the one that is to start, and what runs once in a while."""
    trials = [planned(1.0 + number) for number in range(1000)]
    budget = store.budget(limit=1e9, trials=trials)
    assert store.read == 1000
    for trial in trials[:100]:
        budget.may_launch(trial)
    assert store.read == 1100
    store.now += 10
    budget.may_launch(trials[100])
    assert store.read == 1201


def test_asking_again_and_again_does_not_read_again_and_again(store):
    """While nothing may start, looking at what runs takes a tenth of the time at most."""
    trials = [planned(1.0 + number) for number in range(100)]
    budget = store.budget(limit=5000, trials=trials)
    for trial in trials[:50]:
        assert budget.may_launch(trial) is None
    store.now += 10
    assert budget.may_launch(trials[50]) is not None
    before = store.read
    for _ in range(400):
        assert budget.may_launch(trials[50]) is not None
    assert store.read - before < 600


def test_the_end_says_what_was_used_what_is_left_and_how_to_go_on(store):
    """Only where the budget was what ended it."""
    budget = store.budget(limit=3600, expected=1800.0)
    assert budget.may_launch(FIRST) is None
    assert budget.conclusion([SECOND]) == ""
    assert budget.may_launch(SECOND) is None
    store.put(FIRST, cost(1800))
    store.put(SECOND, cost(1800))
    assert budget.may_launch(THIRD) is not None
    assert budget.conclusion([]) == ""
    assert budget.conclusion([THIRD]) == (
        "Budget of 1 CPU-core-hour reached: 1 used, 1 trial left, about 0.5 more needed. Raise "
        "budget.device_hours and submit again to resume."
    )
