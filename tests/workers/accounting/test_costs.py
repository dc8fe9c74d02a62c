"""The file of a trial's costs, and its copy."""

import pytest

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
