"""A trial's share of a GPU: as read from a library with NVML's functions, and in the costs of an attempt."""

import ctypes
import itertools
import threading

import pytest
import torch

from evaluation.records import Cost, from_parquet, to_parquet
from workers.accounting.accountant import Accountant
from workers.devices.gpu_share import Sample, ShareMeter, Usage, board_share, host_pid, share_meter
from workers.store.store import Store

UUID = "9f1c2b3a-0000-1111-2222-333344445555"
OWN, OTHER = 645400, 323


@pytest.fixture
def proc(tmp_path):
    """Return the folder of a machine's own /proc, seen from a container in which this process is number 323."""
    return make_proc(tmp_path / "proc", f"{OWN}\t323")


def make_proc(folder, numbers, second="kthreadd"):
    for name, text in (("2/comm", f"{second}\n"), ("self/status", f"Name:\tpython\nNSpid:\t{numbers}\nThreads:\t4\n")):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


@pytest.fixture
def board(driver, proc):
    """Return a meter of a board, and the library to put down samples in."""
    nvml = driver()
    nvml.put.argtypes = [ctypes.c_uint, ctypes.c_ulonglong, ctypes.c_uint]
    # An earlier trial of this very process.
    nvml.put(OWN, 1_000_000, 99)
    return board_share(UUID, proc), nvml


def share(usage):
    return usage.own / usage.everybody


def test_two_processes_share_the_work_of_a_board(board):
    meter, nvml = board
    nvml.put(OWN, 2_000_000, 30)
    nvml.put(OTHER, 2_100_000, 60)
    meter.read()
    assert share(meter.usage) == pytest.approx(1 / 3)
    meter.read()
    assert share(meter.usage) == pytest.approx(1 / 3)
    nvml.put(OWN, 3_000_000, 50)
    before = meter.usage
    meter.read()
    assert share(meter.usage - before) == pytest.approx(1)


def test_what_was_sampled_before_is_not_counted(board):
    meter, _ = board
    meter.read()
    assert meter.usage == Usage(0, 0)


def test_a_process_that_is_not_among_the_samples_has_no_share(board):
    meter, nvml = board
    nvml.put(OTHER, 2_000_000, 60)
    meter.read()
    assert meter.usage.own == 0 < meter.usage.everybody


def test_timestamps_that_start_again_are_followed(board):
    """The clock was set back by more than a second: one reading is lost, the next ones count."""
    meter, nvml = board
    nvml.forget()
    nvml.put(OWN, 10_000, 40)
    meter.read()
    assert meter.usage == Usage(0, 0)
    nvml.put(OWN, 20_000, 40)
    nvml.put(OTHER, 20_000, 10)
    meter.read()
    assert share(meter.usage) == pytest.approx(4 / 5)


def test_an_idle_board_is_nobodys_and_is_gone_on_with(board):
    meter, nvml = board
    nvml.forget()
    meter.read()
    assert meter.usage == Usage(0, 0)
    nvml.put(OWN, 2_000_000, 40)
    meter.read()
    assert share(meter.usage) == 1


def test_impossible_utilisations_are_left_out(board):
    meter, nvml = board
    nvml.put(OTHER, 2_000_000, 2_147_483_632)
    nvml.put(OWN, 2_000_000, 40)
    meter.read()
    assert share(meter.usage) == 1


@pytest.mark.parametrize("defect", [*({"sampling": status} for status in (3, 4, 6, 999)), {"share": "renamed"}])
def test_a_board_that_does_not_tell_leaves_the_share_unknown(driver, proc, defect):
    """Not supported, no permission, no samples, an unknown status, and a library from before the function."""
    driver(**defect)
    meter = board_share(UUID, proc)
    meter.read()
    assert meter.usage == Usage(0, 0)


def test_without_the_board_there_is_no_meter(driver, proc):
    driver()
    assert board_share("12345678-0000-1111-2222-333344445555", proc) is None


def test_without_a_driver_there_is_no_meter(driver, proc):
    driver(init=9)
    assert board_share(UUID, proc) is None


def test_without_nvidias_binding_there_is_no_meter(driver, no_binding, proc):
    driver()
    assert board_share(UUID, proc) is None


def test_in_a_container_that_hides_the_machines_numbers_there_is_no_meter(driver, tmp_path):
    """Number 323 is somebody else on the machine."""
    driver()
    hidden = make_proc(tmp_path / "hidden", "323", second="bash")
    assert host_pid(hidden) is None
    assert board_share(UUID, hidden) is None


@pytest.mark.parametrize(("numbers", "expected"), [(f"{OWN}", OWN), (f"{OWN}\t323", OWN), (f"{OWN}\t70\t1", OWN)])
def test_the_machines_own_number_comes_first(tmp_path, numbers, expected):
    assert host_pid(make_proc(tmp_path / "proc", numbers)) == expected


def test_without_proc_the_number_is_unknown(tmp_path):
    assert host_pid(tmp_path) is None


@pytest.mark.parametrize(("device", "count"), [("cpu", 2.0), ("cpu", 0.5), ("cuda", 1.0), ("cuda", 4.0)])
def test_only_a_part_of_a_gpu_is_measured(device, count):
    assert share_meter(torch.device(device), count) is None


class Readings:
    """Samples to come, one list of (pid, utilisation) a reading, each a second apart in NVML's time."""

    def __init__(self, *readings):
        self.readings = [[Sample(pid, 10 + at, sm) for pid, sm in one] for at, one in enumerate(readings)]
        self.reached = 0

    def __call__(self, after):
        return [one for reading in self.readings[: self.reached] for one in reading if one.taken_at > after]

    def meter(self, *seconds):
        clock = iter((0.0, *seconds))
        return ShareMeter(self, OWN, lambda: next(clock))

    def next(self, meter):
        self.reached += 1
        meter.read()


def test_a_reading_that_is_late_stands_for_all_its_time():
    readings = Readings([(OWN, 50), (OTHER, 50)], [(OWN, 40), (OTHER, 20)])
    meter = readings.meter(1.0, 4.0)
    readings.next(meter)
    readings.next(meter)
    assert (meter.usage.own, meter.usage.everybody) == (pytest.approx(0.5 + 1.2), pytest.approx(1.0 + 1.8))


def test_samples_that_are_returned_again_count_once():
    """Some drivers return older ones than were asked for."""
    samples = [Sample(OWN, 10, 50)]
    clock = iter((0.0, 1.0))
    meter = ShareMeter(lambda _: samples, OWN, lambda: next(clock))
    samples.append(Sample(OTHER, 11, 50))
    meter.read()
    assert meter.usage == Usage(0.0, 0.5)


def test_samples_are_read_while_it_runs_and_no_longer(monkeypatch):
    monkeypatch.setattr("workers.devices.gpu_share.PERIOD_SECONDS", 0.0)
    asked = threading.Event()
    meter = ShareMeter(lambda after: [asked.set(), Sample(OWN, after + 1, 50)][1:], OWN)
    asked.clear()
    with meter.running():
        assert asked.wait()
        assert "device-share" in {thread.name for thread in threading.enumerate()}
    assert "device-share" not in {thread.name for thread in threading.enumerate()}


@pytest.fixture
def make_accountant(tmp_path):
    """Return an accountant with this meter and half of a GPU; each reading advances its clock by a second."""

    def make(meter):
        seconds = itertools.count(0.0)
        return Accountant(
            Store(tmp_path / "runs").trial("0" * 64),
            torch.device("cpu"),
            0.5,
            clock=lambda: next(seconds),
            now=lambda: 0.0,
            share=meter,
        )

    return make


def shares_of(accountant):
    return {row.phase: row.measured_share for row in accountant.rows("done")}


def test_a_phase_has_the_share_of_its_own_samples(make_accountant):
    """A phase that is too short for one has that of the whole attempt; what is between phases is nobody's."""
    readings = Readings(
        [(OWN, 20), (OTHER, 80)], [(OWN, 60), (OTHER, 20)], [(OTHER, 90)], [(OWN, 20), (OTHER, 30)], [(OTHER, 70)]
    )
    meter = readings.meter(1.0, 2.0, 3.0, 4.0, 5.0)
    accountant = make_accountant(meter)
    with accountant.phase("train"):
        readings.next(meter)
        with accountant.phase("along"):
            readings.next(meter)
    readings.next(meter)
    with accountant.phase("train"):
        readings.next(meter)
    with accountant.phase("data"):
        readings.next(meter)
    with accountant.phase("checkpoint"):
        pass
    assert shares_of(accountant) == {
        "train": pytest.approx((20 + 20) / (100 + 50)),
        "along": pytest.approx(60 / 80),
        "data": 0.0,
        "checkpoint": pytest.approx((20 + 60 + 20) / (100 + 80 + 50 + 70)),
    }


def test_an_attempt_that_is_never_among_the_samples_has_no_share(make_accountant):
    """It may go by another number there: nothing tells that from having done no work."""
    readings = Readings([(OTHER, 90)])
    meter = readings.meter(1.0)
    accountant = make_accountant(meter)
    with accountant.phase("train"):
        readings.next(meter)
    assert shares_of(accountant) == {"train": None}


def test_without_samples_or_meter_there_is_no_share(make_accountant):
    for meter in (Readings().meter(), None):
        accountant = make_accountant(meter)
        with accountant.sampling(), accountant.phase("train"):
            pass
        assert shares_of(accountant) == {"train": None}


def test_shares_of_earlier_attempts_and_of_files_are_kept(make_accountant):
    shares = []
    for own in (30, 60):
        readings = Readings([(OWN, own), (OTHER, 30)])
        meter = readings.meter(1.0)
        accountant = make_accountant(meter)
        with accountant.phase("train"):
            readings.next(meter)
        accountant.write("interrupted")
        rows = accountant.rows("interrupted")
        assert from_parquet(Cost, to_parquet(Cost, rows), "costs") == rows
        shares = [(row.attempt, row.measured_share) for row in rows]
    assert shares == [(1, pytest.approx(0.5)), (2, pytest.approx(2 / 3))]
