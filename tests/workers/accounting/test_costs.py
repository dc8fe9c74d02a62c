"""The file of a trial's costs, and its copy."""

import threading
import time

import pytest
import torch

from workers.accounting.accountant import Accountant
from workers.accounting.costs import COPY, COSTS, read_costs
from workers.running.run import run_trial


@pytest.fixture
def folder(make_trial, make_context):
    trial = make_trial()
    context = make_context(trial)
    run_trial(trial, context)
    return context.store.trial(trial.trial_id)


@pytest.mark.parametrize("kept", [0, 100, -1])
def test_costs_are_read_from_their_copy_where_their_file_is_cut(folder, kept):
    rows = read_costs(folder)
    assert rows
    folder.write(COSTS, folder.read(COSTS)[:kept])
    assert read_costs(folder) == rows


def test_a_cut_copy_is_not_asked(folder):
    rows = read_costs(folder)
    folder.write(COPY, b"")
    assert read_costs(folder) == rows


def test_no_costs_are_there_where_both_are_cut(folder):
    for name in (COSTS, COPY):
        folder.write(name, folder.read(name)[:100])
    assert read_costs(folder) == []


def test_a_trial_on_a_cpu_has_the_cpu_time_of_each_phase(folder):
    """Each phase has some, and together they have no more than the processor's time so far."""
    times = {row.phase: row.cpu_seconds for row in read_costs(folder)}
    assert min(times.values()) >= 0
    assert 0 < times["train"] <= sum(times.values()) < time.process_time()


def test_work_of_other_threads_counts_and_waiting_does_not(make_trial, make_context):
    """The clock is the one of the process: a thread that computes for another 0.2 s is in it, a pause is not."""
    context = make_context(make_trial())
    store = context.store.trial("0" * 64)
    accountant = Accountant(store, torch.device("cpu"), 1.0, clock=time.perf_counter, now=time.time)

    def compute():
        until = time.thread_time() + 0.2
        while time.thread_time() < until:
            pass

    with accountant.phase("train"):
        thread = threading.Thread(target=compute)
        thread.start()
        thread.join()
    with accountant.phase("evaluate"):
        time.sleep(0.2)
    times = {row.phase: row.cpu_seconds for row in accountant.rows("done")}
    assert times["train"] >= 0.2
    assert times["evaluate"] < times["train"]
