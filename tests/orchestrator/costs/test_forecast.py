from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from evaluation.records import Cost
from orchestrator.cli.main import cli
from orchestrator.costs.forecast import forecast, seconds_on
from orchestrator.planning.plan import plan
from orchestrator.spec.file import spec_from_text
from orchestrator.sweeps.status import TrialStatus
from workers.accounting.costs import write_costs
from workers.outcome import TrialState
from workers.store.store import Store

SPEC = """\
name: small
dataset: {name: digits}
architecture: {name: mlp, hidden: [16]}
methods:
  - {kind: mr-vae, beta_range: [0.01, 10]}
  - {kind: beta-vae, betas: [0.1, 1, 10]}
training: {epochs: 10}
"""


def planned(line=""):
    return plan(spec_from_text(SPEC + line, "x.yaml"))


def statuses(sweep, *states):
    return {each.trial_id: TrialStatus(each.trial_id, state) for each, state in zip(sweep.trials, states, strict=True)}


def left(sweep, *seconds):
    return dict(zip((each.trial_id for each in sweep.trials), seconds, strict=True))


def test_what_the_store_has_already_is_told_apart():
    """Trials to take as they are, and trials to evaluate only."""
    sweep = planned()
    found = forecast(
        sweep,
        statuses(sweep, "done", "trained", "pending", "done"),
        left(sweep, 0, 5, 100, 0),
        ["nominal"],
        0.0,
    )
    assert (found.done, found.to_evaluate, found.left, found.on_gpu) == (2, 1, 105, False)
    assert found.describe_store() == "From the store: 2 done, reused as they are; 1 trained, only to be evaluated."


@pytest.mark.parametrize(
    ("used", "passed_by", "words"),
    [
        (3600.0, 0.0, "Budget: 4 GPU-hours, 1 used by all attempts so far; sufficient."),
        (
            7200.0,
            3600.0,
            "Budget: 4 GPU-hours, 2 used by all attempts so far; short by about 1: some trials would not start.",
        ),
    ],
)
def test_the_budget_is_held_against_what_is_used_and_what_is_left(used, passed_by, words):
    """Before anything runs it is known whether it is sufficient."""
    sweep = planned("resources: {gpus: 1}\nbudget: {device_hours: 4}")
    found = forecast(sweep, statuses(sweep, *4 * [TrialState.PENDING]), left(sweep, *4 * [2700.0]), ["nominal"], used)
    assert (found.passed_by, found.describe_budget()) == (passed_by, words)


def test_a_sweep_without_a_budget_passes_none():
    """Nothing is said of it."""
    sweep = planned()
    found = forecast(sweep, statuses(sweep, *4 * [TrialState.PENDING]), left(sweep, *4 * [1e9]), [], 0.0)
    assert (found.passed_by, found.describe_budget()) == (0.0, "")


def test_trials_go_beside_each_other_as_far_as_there_is_room():
    """The MR-VAE and then the longest first, each on the devices that it holds."""
    sweep = planned()
    seconds = left(sweep, 30, 10, 20, 60)
    assert seconds_on(sweep, seconds, 1) == 120
    assert seconds_on(sweep, seconds, 2) == 60
    assert seconds_on(sweep, seconds, 100) == 60
    assert seconds_on(sweep, left(sweep, 0, 0, 0, 0), 1) == 0


def test_a_gang_is_through_sooner_and_needs_room_for_all_its_ranks():
    """Four ranks of a GPU each take a quarter of the device-seconds."""
    sweep = planned("resources: {gpus: 1, ranks: 4}")
    seconds = left(sweep, *4 * [40.0])
    assert seconds_on(sweep, seconds, 3) is None
    assert seconds_on(sweep, seconds, 4) == 40
    assert seconds_on(sweep, seconds, 8) == 20


def test_a_part_of_a_gpu_takes_as_long_as_its_cost_divided_by_the_part():
    """Two share a GPU."""
    sweep = planned("resources: {gpus: 0.5}")
    assert seconds_on(sweep, left(sweep, *4 * [40.0]), 1) == 160


@pytest.fixture
def invoke(tmp_path):
    (tmp_path / "spec.yaml").write_text(SPEC)

    def run(*arguments):
        command = ["plan", str(tmp_path / "spec.yaml"), "--store", str(tmp_path / "runs"), *arguments]
        return CliRunner().invoke(cli, command, catch_exceptions=False)

    return run


def test_plan_says_what_a_sweep_costs_and_how_long_it_takes(invoke):
    """From what is known without running anything."""
    lines = invoke("--set", "budget.device_hours=100", "--devices", "2").output.splitlines()
    assert lines[-4] == "4 trials: 4 pending."
    assert lines[-3].startswith("To run: about ")
    assert "CPU-core-hours (nominal)." in lines[-3]
    assert lines[-2] == "Budget: 100 CPU-core-hours, 0 used by all attempts so far; sufficient."
    assert lines[-1].startswith("With 2 CPU cores for this sweep alone: about ")


def test_plan_counts_attempts_that_came_to_nothing_towards_the_budget(invoke, tmp_path):
    """An attempt that was killed has a cost, though its trial has yet to be trained."""
    trial_id = planned().trials[0].trial_id
    row = Cost(trial_id, 1, "train", "killed", 1800.0, "some processor", 4.0, 0, None, None, None, 0.0, "host")
    write_costs(Store(tmp_path / "runs").trial(trial_id), [row])
    cost = json.loads(invoke("--json", "--set", "budget.device_hours=2.5", "--devices", "4").output)["cost"]
    assert cost["budget"]["used"] == 2
    assert cost["budget"]["passed_by"] == pytest.approx(max(0.0, cost["device_hours"] - 0.5))
    assert cost["from_the_store"] == {"done": 0, "to_evaluate": 0}
    assert cost["seconds"] > 0


def test_plan_says_when_no_trial_could_start(invoke):
    """A gang that is larger than what there is would wait for ever."""
    output = invoke("--set", "resources.gpus=1", "--set", "resources.ranks=4", "--devices", "2").output
    assert output.splitlines()[-1] == "With 2 GPUs no trial can start: each needs more."
