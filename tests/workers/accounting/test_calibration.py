"""How fast a device is at one workload: the measurement, its file, and which speeds a report may use."""

import itertools
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from evaluation.records import Cost
from workers.accounting.calibration import (
    BATCH,
    ROUNDS,
    WARM_UP_STEPS,
    Calibration,
    calibrate,
    images_per_second,
    read_calibrations,
    speeds_for,
    write_calibration,
)
from workers.store.store import Store

CPU = Calibration("AMD EPYC 9654", 1, 100.0, 98.0, 101.0, 7, False, "abc", "2.11", 0.0)
GPU = replace(CPU, device_kind="NVIDIA H200", images_per_device_second=6e4, slowest=5.9e4, fastest=6.1e4, on_gpu=True)


class Device:
    """Takes a fixed number of seconds per step, and counts its steps; it is also the clock."""

    def __init__(self, seconds):
        self.seconds = seconds
        self.time = 0.0
        self.taken = []

    def take_steps(self, steps):
        self.taken.append(steps)
        self.time += sum(self.seconds(sum(self.taken[:-1]) + step) for step in range(steps))

    def clock(self):
        return self.time


def test_speed_is_images_over_seconds_in_every_round():
    device = Device(lambda _: 0.5)
    assert images_per_second(device.take_steps, device.clock, round_seconds=3.0) == [BATCH / 0.5] * ROUNDS
    # Steps that choose kernels, one that says how many make a round, and a round in which clocks rise.
    assert device.taken == [WARM_UP_STEPS, 1, 6, *[6] * ROUNDS]


def test_slow_first_steps_are_left_out():
    device = Device(lambda step: 100.0 if step < WARM_UP_STEPS else 0.25)
    assert images_per_second(device.take_steps, device.clock, round_seconds=1.0) == [BATCH / 0.25] * ROUNDS


def test_a_slow_device_takes_one_step_a_round():
    device = Device(lambda _: 40.0)
    assert images_per_second(device.take_steps, device.clock, round_seconds=3.0) == [BATCH / 40] * ROUNDS


@pytest.fixture
def tiny_batches(monkeypatch):
    """The real workload, with two examples a step and one step a round: its speed is of no interest here."""
    monkeypatch.setattr("workers.accounting.calibration.BATCH", 2)
    monkeypatch.setattr("workers.accounting.calibration.ROUND_SECONDS", 0.0)


def test_a_cpu_is_counted_by_its_threads(tiny_batches):
    """Steps of one second by this clock: two images a second, by two cores."""
    seconds = itertools.count()
    found = calibrate(0.0, 2, clock=lambda: float(next(seconds)), now=lambda: 7.0)
    assert (found.images_per_device_second, found.slowest, found.fastest) == (1.0, 1.0, 1.0)
    assert (found.threads, found.rounds, found.on_gpu, found.measured_at) == (2, ROUNDS, False, 7.0)
    assert torch.get_num_threads() == 2
    assert found.device_kind
    assert found.commit
    assert found.torch.startswith(torch.__version__.split("+")[0])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that torch can use")
def test_a_gpu_is_one_device(tiny_batches):
    seconds = itertools.count()
    found = calibrate(1.0, 1, clock=lambda: float(next(seconds)), now=lambda: 7.0)
    assert (found.images_per_device_second, found.on_gpu) == (2.0, True)
    assert found.device_kind == torch.cuda.get_device_name(0)


def test_calibrations_are_read_as_they_were_written(tmp_path):
    store = Store(tmp_path)
    assert read_calibrations(store) == ([], [])
    assert write_calibration(store, GPU) == str(tmp_path / "calibrations/nvidia-h200.json")
    write_calibration(store, CPU)
    assert read_calibrations(store) == ([CPU, GPU], [])


def test_measuring_again_replaces_what_was_measured(tmp_path):
    store = Store(tmp_path)
    for measured_at in (1.0, 2.0):
        write_calibration(store, replace(CPU, measured_at=measured_at))
    assert read_calibrations(store)[0] == [replace(CPU, measured_at=2.0)]
    assert [path.name for path in (tmp_path / "calibrations").iterdir()] == ["amd-epyc-9654.json"]


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({"images_per_device_second": 0.0}, "not a calibration (speeds are"),
        ({"images_per_device_second": float("nan")}, "not a calibration (speeds are"),
        ({"fastest": float("inf")}, "must be finite"),
        ({"slowest": 100.5}, "in this order"),
        ({"slowest": "fast"}, "not a calibration"),
        ({"colour": "red"}, "not a calibration"),
        ({"workload": 0}, "has workload 0, but this release has 1"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path, change, cause):
    store = Store(tmp_path)
    path = Path(write_calibration(store, CPU))
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    found, (wrong,) = read_calibrations(store)
    assert found == []
    assert wrong.startswith(f"{path}: ")
    assert cause in wrong
    assert wrong.endswith("run `mrvae-orch doctor --calibrate` where it was made, or delete it")


@pytest.mark.parametrize("content", ["", "{", "[1]", "null", '{"threads": 1}'])
def test_a_damaged_file_leaves_the_others(tmp_path, content):
    store = Store(tmp_path)
    write_calibration(store, CPU)
    (tmp_path / "calibrations/damaged.json").write_text(content)
    found, (wrong,) = read_calibrations(store)
    assert found == [CPU]
    assert "damaged.json: not a calibration" in wrong


def cost(kind, count=1.0):
    return Cost("t", 1, "train", "done", 1.0, kind, count, 0, None, None, None, 0.0, "here")


@pytest.fixture
def store(tmp_path):
    """A store with the calibrations of a CPU and a GPU."""
    store = Store(tmp_path)
    for calibration in (CPU, GPU):
        write_calibration(store, calibration)
    return store


def test_several_kinds_have_their_speeds(store):
    costs = [cost(CPU.device_kind), cost(GPU.device_kind), cost(GPU.device_kind, 0.5), cost("another")]
    assert speeds_for(store, costs) == ({CPU.device_kind: 100.0, GPU.device_kind: 6e4}, [])


def test_one_kind_has_nothing_to_convert(store):
    (store.root / "calibrations/damaged.json").write_text("")
    assert speeds_for(store, [cost(CPU.device_kind), cost(CPU.device_kind, 4.0)]) == ({}, [])
    assert speeds_for(store, []) == ({}, [])


def test_a_core_alone_says_nothing_of_cores_together(store):
    """Trials had 4 threads, the calibration 1: their cores share a memory."""
    speeds, (remark,) = speeds_for(store, [cost(CPU.device_kind, 4.0), cost(GPU.device_kind)])
    assert speeds == {GPU.device_kind: 6e4}
    assert remark == (
        "calibration of AMD EPYC 9654: 100.0 images per device-second (98.0 to 101.0 in 7 rounds, 1 thread): not used, "
        "because trials had 4 threads; run `mrvae-orch doctor --calibrate --threads 4` there."
    )


def test_a_disturbed_calibration_is_used_and_said(store):
    write_calibration(store, replace(CPU, slowest=50.0))
    speeds, (remark,) = speeds_for(store, [cost(CPU.device_kind), cost(GPU.device_kind)])
    assert speeds[CPU.device_kind] == 100.0
    assert "(50.0 to 101.0 in 7 rounds, 1 thread); the rounds are far apart, so calibrate again" in remark


def test_a_damaged_calibration_is_said(store):
    (store.root / "calibrations/nvidia-h200.json").write_text("")
    speeds, (remark,) = speeds_for(store, [cost(CPU.device_kind), cost(GPU.device_kind)])
    assert speeds == {CPU.device_kind: 100.0}
    assert "nvidia-h200.json: not a calibration" in remark
