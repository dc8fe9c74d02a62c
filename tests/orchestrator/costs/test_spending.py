from __future__ import annotations

import pytest

from evaluation.records import Cost
from orchestrator.costs.spending import describe_total, spending

CPU, GPU = "some processor", "NVIDIA H200"


def cost(seconds, outcome="done", attempt=1, images=0, count=1.0, kind=CPU, phase="train"):
    return Cost("id", attempt, phase, outcome, seconds, kind, count, images, None, None, None, 5.0, "host")


def of(*rows, state="done", images=None):
    return spending("id", rows, state, images)


def test_each_attempt_has_the_time_of_all_its_phases_on_all_its_devices():
    """Four ranks for ten seconds, then two for a second."""
    found = of(
        cost(9, "killed", count=4.0, kind=GPU),
        cost(1, "killed", count=4.0, kind=GPU, phase="data"),
        cost(1, attempt=2, count=2.0, kind=GPU),
    )
    assert [(each.number, each.outcome, each.device_seconds, each.device_count) for each in found.attempts] == [
        (1, "killed", 40, 4.0),
        (2, "done", 2, 2.0),
    ]
    assert found.used == {True: 42, False: 0}


def test_what_a_later_attempt_did_not_take_over_is_lost():
    """As the report has it: 900 images were trained before the kill, 800 of them kept."""
    found = of(cost(9, "killed", images=900), cost(2, attempt=2, images=200), images=1000)
    assert found.lost[False] == pytest.approx(1)


def test_all_of_a_failed_trial_is_lost_and_nothing_yet_of_one_that_may_go_on():
    """A trial that waits for its next attempt may still take over what it has saved."""
    rows = [cost(9, "killed", images=900)]
    assert of(*rows, cost(1, "failed", attempt=2), state="failed").lost == {True: 0, False: 10}
    assert of(*rows, state="pending").lost == {True: 0, False: 0}


def test_an_attempt_that_nobody_runs_any_more_was_killed():
    """Its rows say "running" until the next attempt finds them."""
    rows = [cost(9, "running")]
    assert [each.outcome for each in of(*rows, state="pending").attempts] == ["killed"]
    assert [each.outcome for each in of(*rows, state="running").attempts] == ["running"]


def test_attempts_of_a_trial_in_words():
    """How many there were, and what became of those that came to no end."""
    found = of(cost(1, "killed"), cost(1, "failed", attempt=2), cost(1, "killed", attempt=3), cost(1, attempt=4))
    assert found.describe_attempts() == "4 (1 failed, 2 killed)"
    assert of(cost(1)).describe_attempts() == "1"


def test_the_line_on_a_sweep_counts_attempts_and_never_adds_kinds_of_device():
    """Hours of GPUs and of cores stand beside each other."""
    trials = [
        of(cost(3600, "killed", kind=GPU, images=10), cost(3600, attempt=2, kind=GPU, images=10), images=10),
        of(cost(1800), cost(0, "interrupted", attempt=2, phase="data")),
        of(cost(1800, "failed"), state="failed"),
    ]
    assert describe_total(trials) == (
        "5 attempts, 2 interrupted, 1 failed, 1 of 2 GPU-hours lost, 0.5 of 1 CPU-core-hour lost"
    )
    assert describe_total([of(cost(3600))]) == "1 attempt, 1 CPU-core-hour"
    assert describe_total([of()]) == ""
