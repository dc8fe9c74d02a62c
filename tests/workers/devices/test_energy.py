"""Energy by phase: as read from a library with NVML's functions, and in the costs of an attempt."""

import itertools
import math
import os
import subprocess
import sys

import pytest
import torch

from evaluation.records import Cost, from_parquet, to_parquet
from workers.accounting.accountant import Accountant
from workers.accounting.costs import read_costs
from workers.devices.energy import board_energy, energy_counter
from workers.running.run import run_trial
from workers.store.store import Store

UUID = "9f1c2b3a-0000-1111-2222-333344445555"
OTHER = "00000000-0000-1111-2222-333344445555"


def test_energy_is_read_in_joules(driver):
    """The counter is 64 bits of millijoules: 5e12 of them do not fit in 32."""
    driver()
    joules = board_energy([UUID])
    assert [joules(), joules()] == [pytest.approx(5e9 + 0.25, abs=1e-5), pytest.approx(5e9 + 0.5, abs=1e-5)]


def test_the_energy_of_several_boards_is_added(driver):
    driver()
    joules = board_energy([UUID, OTHER])
    assert -joules() + joules() == pytest.approx(0.5, abs=1e-5)


def test_a_board_that_nvml_does_not_know_has_no_energy(driver):
    """A partition of a board (MIG) has a UUID that no board has."""
    driver()
    assert math.isnan(board_energy(["12345678-0000-1111-2222-333344445555"])())


@pytest.mark.parametrize("defect", [{"init": 9}, {"reading": 3}, {"energy": "renamed"}])
def test_with_a_broken_library_energy_is_unknown(driver, defect):
    """No driver, no counter on this board, and a library from before the function."""
    driver(**defect)
    assert math.isnan(board_energy([UUID])())


def test_without_nvidias_binding_energy_is_unknown(driver, no_binding):
    driver()
    assert math.isnan(board_energy([UUID])())


def handles_with(folder):
    """Return how many boards are found by a process whose driver lies in a folder."""
    program = f"from workers.devices.nvml import boards; found = boards(['{UUID}']); print(found and len(found[1]))"
    environment = {**os.environ, "LD_LIBRARY_PATH": str(folder)}
    return subprocess.check_output([sys.executable, "-c", program], env=environment, text=True).strip()


def test_the_drivers_library_is_found_by_its_name(nvml_library, tmp_path):
    """A file that is no library counts as no driver."""
    nvml_library()
    assert handles_with(tmp_path) == "1"
    (tmp_path / "libnvidia-ml.so.1").write_text("not a library")
    assert handles_with(tmp_path) == "None"


@pytest.mark.parametrize(("device", "count"), [("cpu", 1.0), ("cuda", 0.5), ("cuda", 4096.0)])
def test_only_whole_gpus_that_are_seen_have_energy(device, count):
    """A CPU, a fraction of a GPU, and a process that sees fewer GPUs than the trial has."""
    assert math.isnan(energy_counter(torch.device(device), count)())


@pytest.fixture
def make_accountant(tmp_path):
    """Return accountants whose counter shows these joules, one after the other, at one second a reading."""

    def make(*readings, trial_id="0" * 64):
        folder = Store(tmp_path / "runs").trial(trial_id)
        seconds, joules = itertools.count(0.0), iter(readings)
        return Accountant(
            folder,
            torch.device("cpu"),
            1.0,
            clock=lambda: next(seconds),
            now=lambda: 0.0,
            joules=lambda: next(joules),
        )

    return make


def joules_of(accountant, outcome="done"):
    return {row.phase: row.joules for row in accountant.rows(outcome)}


def test_joules_are_those_of_the_phase_they_were_used_in(make_accountant):
    """The inner phase's joules are not the outer one's, and what is used between phases is nobody's."""
    # Read at the start, at each border of a phase, and when the rows are made.
    accountant = make_accountant(100.0, 107.0, 110.0, 130.0, 134.0, 150.0)
    with accountant.phase("train"), accountant.phase("checkpoint"):
        pass
    assert joules_of(accountant) == {"train": 3.0 + 4.0, "checkpoint": 20.0}


def test_a_phase_whose_joules_are_known_in_part_has_none(make_accountant):
    accountant = make_accountant(0.0, 1.0, math.nan, 5.0, 8.0, 9.0, 11.0, 11.0)
    for phase in ("train", "train", "evaluate"):
        with accountant.phase(phase):
            pass
    assert joules_of(accountant) == {"train": None, "evaluate": 2.0}


def test_a_counter_that_was_set_back_tells_nothing(make_accountant):
    """The driver counts from its last reload."""
    accountant = make_accountant(0.0, 1000.0, 3.0, 3.0)
    with accountant.phase("train"):
        pass
    assert joules_of(accountant) == {"train": None}


def test_joules_of_earlier_attempts_are_kept(make_accountant):
    first = make_accountant(0.0, 1.0, 5.0, 5.0)
    with first.phase("train"):
        pass
    first.write("interrupted")
    second = make_accountant(50.0, 50.0, 52.0, 52.0)
    with second.phase("train"):
        pass
    assert [(row.attempt, row.joules) for row in second.rows("done")] == [(1, 4.0), (2, 2.0)]


def test_joules_survive_the_file(make_accountant):
    accountant = make_accountant(0.0, 1.0, 5.0, 5.0)
    with accountant.phase("train"):
        pass
    rows = accountant.rows("done")
    assert from_parquet(Cost, to_parquet(Cost, rows), "costs") == rows


def test_a_trial_on_a_cpu_has_no_joules(make_trial, make_context):
    trial = make_trial(epochs=1)
    context = make_context(trial)
    assert run_trial(trial, context).state == "done"
    costs = read_costs(context.store.trial(trial.trial_id))
    assert {cost.joules for cost in costs} == {None}
    assert not any(cost.shared for cost in costs)
    assert {cost.measured_share for cost in costs} == {None}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that torch can use")
def test_a_gpu_uses_energy():
    """On a board that NVML counts for; long enough for the counter to move."""
    device = torch.device("cuda", 0)
    joules = energy_counter(device, 1.0)
    before = joules()
    if math.isnan(before):
        pytest.skip("NVML has no energy counter for this GPU")
    x = torch.rand(4096, 4096, device=device)
    for _ in range(2000):
        x = torch.tanh(x @ x)
    torch.cuda.synchronize()
    assert joules() > before
