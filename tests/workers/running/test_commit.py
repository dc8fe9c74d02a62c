"""A trial that is ended anywhere in the commit of its result."""

import pytest
import safetensors.torch
import torch

from workers.outcome import Outcome
from workers.running.attempt import Attempt
from workers.running.run import run_trial
from workers.store.store import Store


@pytest.mark.parametrize("moment", range(5))
def test_stop_before_each_write_of_the_commit(tmp_path, moment, make_trial, make_context, monkeypatch):
    """A trial that ends before any file of its result is finished by the next attempt, with the same bits."""
    trial = make_trial()
    context = make_context(trial)
    folder = context.store.trial(trial.trial_id)
    final_writes = ["points/", "pictures/", "checkpoint/final", "history.parquet", "manifest.json"]

    class Killed(BaseException):
        pass

    def killed_before(method):
        def write(self, name, content):
            if name.startswith(final_writes[moment]):
                raise Killed
            return method(self, name, content)

        return write

    for method in ("write", "commit"):
        monkeypatch.setattr(type(folder), method, killed_before(getattr(type(folder), method)))
    with pytest.raises(Killed):
        Attempt(trial, context, folder).run()
    monkeypatch.undo()
    assert folder.manifest() is None
    assert run_trial(trial, context) == Outcome("done")
    other = make_context(trial, store=Store(tmp_path / "other"))
    run_trial(trial, other)
    one, two = (c.store.trial(trial.trial_id).read("checkpoint/final.safetensors") for c in (context, other))
    expected, found = safetensors.torch.load(one), safetensors.torch.load(two)
    assert all(torch.equal(expected[name], found[name]) for name in expected)
