"""The plan of a sweep as its folder keeps it: the same plan, whatever a later release would make of the spec."""

import json
from dataclasses import dataclass

import pytest

import workers.trial
from command_line import SPEC
from models.architectures.mlp import MLP
from models.architectures.registry import ARCHITECTURES
from models.options import identity, later
from orchestrator.errors import SweepError
from orchestrator.planning import plan as planning
from orchestrator.planning.plan import plan
from orchestrator.spec import grid
from orchestrator.spec.file import spec_from_text
from orchestrator.sweeps.remembered import from_record, to_record
from orchestrator.sweeps.sweep import PLANNED, load_sweep, save_sweep
from workers.data.digits import Digits
from workers.store.json_files import hashed
from workers.store.store import Store
from workers.trial import Trial

SELECTION = SPEC + "selection: {learning_rates: [1e-3, 1e-2], beta: 1}\n"
GRID = SPEC + "grid: {training.learning_rate: [0.001, 0.01], architecture.hidden: [[8], [8, 4]]}\n"


def through_json(planned):
    return from_record(json.loads(json.dumps(to_record(planned))), planned.spec, "planned.json")


@pytest.mark.parametrize("text", [SPEC, SELECTION, GRID])
def test_a_plan_survives_its_file(text):
    """Every trial with its evaluation, resources and label, the choices and what waits for them."""
    planned = plan(spec_from_text(text, "spec.yaml"))
    assert through_json(planned) == planned


def test_what_trials_have_in_common_is_written_once():
    """A sweep of ten thousand trials has a file of a few megabytes."""
    record = to_record(plan(spec_from_text(SPEC.replace("seeds: [0]", "seeds: [0, 1, 2, 3]"), "spec.yaml")))
    assert len(record["trials"]) == 12
    assert len(record["parts"]) == 11  # dataset, architecture, objective, training, resources; 3 methods, 3 evaluations


@dataclass(frozen=True)
class LaterMLP(MLP):
    """A plug-in's class of the same name, with an option that earlier versions did not have."""

    dropout: float = 0.0


def test_ids_are_those_that_were_planned(tmp_path, monkeypatch):
    """A new version of a plug-in, whose class has one more option, leaves the results of the old one where they are."""
    store = Store(tmp_path)
    before = save_sweep(store, plan(spec_from_text(SPEC, "spec.yaml")), 0.0)
    monkeypatch.setitem(ARCHITECTURES, "mlp", LaterMLP)
    after = load_sweep(store, "tiny")
    assert [each.trial_id for each in after.plan.trials] == [each.trial_id for each in before.plan.trials]
    assert all(each.trial.trial_id != each.trial_id for each in after.plan.trials)
    assert after.plan.trials[0].trial.architecture.dropout == 0.0


def test_an_option_that_this_release_lacks_is_named(tmp_path):
    """With the file and the next step."""
    store = Store(tmp_path)
    folder = save_sweep(store, plan(spec_from_text(SPEC, "spec.yaml")), 0.0).folder
    record = folder.read_json(PLANNED)
    place = record["trials"][0]["architecture"]
    record["parts"][place]["dropout"] = 0.1
    folder.write_json(PLANNED, hashed(record))
    with pytest.raises(SweepError, match=r"planned\.json: a trial of the sweep cannot be read .*dropout"):
        load_sweep(store, "tiny")


def raise_numerics(monkeypatch):
    """Do what a release does whose trials end with other numbers."""
    for module in (workers.trial, planning, grid):
        monkeypatch.setattr(module, "NUMERICS", 2)
    for function in (plan, Trial.__init__):
        monkeypatch.setattr(function, "__defaults__", (*function.__defaults__[:-1], 2))


def test_trials_keep_the_numerics_that_they_were_planned_with(tmp_path, monkeypatch):
    """A release with other numerics reads the old ids from the plan, and gives the spec new ones."""
    store = Store(tmp_path)
    before = save_sweep(store, plan(spec_from_text(SPEC, "spec.yaml")), 0.0).plan
    raise_numerics(monkeypatch)
    after = load_sweep(store, "tiny").plan
    again = plan(spec_from_text(SPEC, "spec.yaml"))
    assert [each.trial_id for each in after.trials] == [each.trial_id for each in before.trials]
    assert (after.numerics, again.numerics) == (1, 2)
    assert {each.trial_id for each in again.trials}.isdisjoint(each.trial_id for each in before.trials)
    with pytest.raises(ValueError, match="planned with numerics version 1; this release has version 2"):
        after.trials[0].trial.check_numerics()


@dataclass(frozen=True)
class LaterDigits(Digits):
    """Digits with an option that came after trials were stored."""

    noise: float = later(0.0, default=0.5)


def test_an_option_that_came_later_leaves_old_ids_alone():
    """With the value that changes nothing it is no part of the identity; with any other it is, its default too."""
    assert identity(LaterDigits(noise=0.0)) == identity(Digits())
    assert identity(LaterDigits()) == {**identity(Digits()), "noise": 0.5}
