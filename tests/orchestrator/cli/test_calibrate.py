"""`doctor --calibrate`, and what reports make of calibrations and of shared devices."""

import json
from dataclasses import replace

import pytest
import torch
from click.testing import CliRunner

from command_line import SPEC
from evaluation.records import Cost
from orchestrator.cli.main import cli
from orchestrator.planning.plan import plan
from orchestrator.reports.gather import gather
from orchestrator.spec.file import spec_from_text
from orchestrator.sweeps.status import read_statuses
from orchestrator.sweeps.sweep import save_sweep
from workers.accounting.calibration import Calibration, read_calibrations, write_calibration
from workers.accounting.costs import write_costs
from workers.store.store import Store

CPU = Calibration("cpu", 1, 100.0, 98.0, 101.0, 7, False, "abc", "2.11", 0.0)
GPU = replace(CPU, device_kind="H200", images_per_device_second=6e4, slowest=5.9e4, fastest=6.1e4, on_gpu=True)


@pytest.fixture
def doctor(tmp_path, monkeypatch):
    """Run the command in an empty folder, with two examples a step and one step a round: its speed does not matter."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("workers.accounting.calibration.BATCH", 2)
    monkeypatch.setattr("workers.accounting.calibration.ROUND_SECONDS", 0.0)

    def run(*arguments):
        return CliRunner().invoke(cli, ["doctor", *arguments])

    return run


def test_calibration_is_measured_written_and_listed(doctor, tmp_path):
    """A second one replaces the first, and the next `doctor` lists what is there."""
    measured = doctor("--calibrate", "--gpus", "0")
    assert measured.exit_code == 0, measured.output
    (path,) = (tmp_path / "runs/calibrations").iterdir()
    assert f"calibration: written to {path}" in measured.output.replace("\n", "")
    first = json.loads(path.read_text())
    assert (first["threads"], first["on_gpu"], first["rounds"]) == (1, False, 7)
    assert doctor("--calibrate", "--gpus", "0", "--threads", "2").exit_code == 0
    ((second,), wrong) = read_calibrations(Store(tmp_path / "runs"))
    assert (second.device_kind, second.threads, wrong) == (first["device_kind"], 2, [])
    assert list((tmp_path / "runs/calibrations").iterdir()) == [path]
    listed = doctor()
    assert f"{second}" in listed.output
    assert "calibrating" not in listed.output


@pytest.mark.skipif(torch.cuda.is_available(), reason="is about a machine without a GPU")
def test_a_gpu_that_is_not_there_is_not_calibrated(doctor, tmp_path):
    result = doctor("--calibrate", "--gpus", "1")
    assert result.exit_code == 1
    assert "torch sees no GPU; check the driver, or calibrate the CPU with --gpus 0" in result.output
    assert not list(tmp_path.iterdir())


def test_a_store_that_cannot_be_written_is_said_before_the_measurement(doctor, tmp_path, monkeypatch):
    def measure(*arguments, **keywords):
        raise AssertionError("measured for nothing")

    monkeypatch.setattr("workers.accounting.calibration.calibrate", measure)
    (tmp_path / "runs").write_text("")
    result = doctor("--calibrate", "--gpus", "0")
    assert result.exit_code == 1, result.output
    assert "not measured: store: cannot use" in result.output


def test_a_damaged_calibration_is_something_wrong(doctor, tmp_path):
    store = Store(tmp_path / "runs")
    write_calibration(store, GPU)
    (tmp_path / "runs/calibrations/damaged.json").write_text("{}")
    result = doctor()
    assert result.exit_code == 1
    assert "calibration of H200: 60,000.0 images per device-second" in result.output
    assert "damaged.json: not a calibration" in result.output


@pytest.mark.parametrize("arguments", [["--gpus", "0"], ["--threads", "2"]])
def test_options_of_a_calibration_alone_are_refused(doctor, arguments):
    """Rather than ignored."""
    result = doctor(*arguments)
    assert result.exit_code == 2
    assert "--gpus and --threads need --calibrate" in result.output


@pytest.mark.parametrize("arguments", [["--gpus", "2"], ["--gpus", "-1"], ["--threads", "0"]])
def test_one_device_is_calibrated_at_a_time(doctor, arguments):
    assert doctor("--calibrate", *arguments).exit_code == 2


def cost(trial_id, kind, count=1.0, measured_share=None):
    return Cost(trial_id, 1, "train", "running", 1.0, kind, count, 0, None, None, None, 0.0, "here", measured_share)


@pytest.fixture
def gathered(tmp_path):
    """Return what a report is made from, of trials that ran on these kinds and counts of devices so far."""
    store = Store(tmp_path / "runs")

    def make(*devices):
        sweep = save_sweep(store, plan(spec_from_text(SPEC, "spec")), 0.0)
        for planned, device in zip(sweep.plan.trials, devices, strict=True):
            write_costs(store.trial(planned.trial_id), [cost(planned.trial_id, *device)])
        return gather(store, sweep, read_statuses(store, sweep.plan.trials), {})

    for calibration in (CPU, GPU):
        write_calibration(store, calibration)
    return make


def test_a_report_gets_the_speeds_of_its_devices(gathered):
    record = gathered(("H200",), ("cpu",), ("cpu",))
    assert (record.speeds, record.notes) == ({"H200": 6e4, "cpu": 100.0}, ())


def test_a_report_of_one_kind_gets_none(gathered):
    record = gathered(("cpu", 4.0), ("cpu",), ("cpu",))
    assert (record.speeds, record.notes) == ({}, ())


def test_a_report_says_which_calibration_does_not_fit(gathered):
    record = gathered(("H200",), ("cpu", 4.0), ("cpu",))
    assert record.speeds == {"H200": 6e4}
    (note,) = record.notes
    assert note.endswith(
        "not used, because trials had 1 and 4 threads; trials with different numbers of threads have no common speed."
    )


@pytest.mark.parametrize(
    ("devices", "how"),
    [
        (
            (("H200", 0.25), ("H200", 0.25)),
            "the share held (resources.gpus), not measured in whole or in part, for 2 trials",
        ),
        ((("H200", 0.25, 0.4), ("H200", 0.25, 0.6)), "the measured share of the GPU’s work for 2 trials"),
        (
            (("H200", 0.25, 0.0), ("H200", 0.25)),
            "the measured share of the GPU’s work for 1 trial and by the share held (resources.gpus), not measured in "
            "whole or in part, for 1 trial",
        ),
    ],
)
def test_a_report_says_how_time_on_a_shared_device_is_attributed(gathered, devices, how):
    assert gathered(*devices, ("H200",)).notes == (
        f"2 trials held a part of a GPU: times on shared devices are attributed by {how}. Their energy is unknown.",
    )
