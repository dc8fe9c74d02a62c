"""What a trial gives that is left alone, to compare with one that was not."""

import safetensors.torch
import torch

from command_line import CommandLine
from evaluation.records import HistoryRow, from_parquet
from workers.data.digits import Digits
from workers.outcome import Outcome
from workers.run import Context, run_trial
from workers.store import Store
from workers.trial import Evaluation, Resources, Trial


def undisturbed_tensors(folder, store):
    """Train the same trial in this process, in a store of its own, and return its final weights."""
    trial = Trial.from_json(Store(folder.parents[1]).trial(folder.name).read_json("trial.json"))
    data = Digits(train_limit=256).load(folder)
    evaluation = Evaluation(betas=(0.1,)).for_method(trial.method)
    context = Context(store, "undisturbed", evaluation, Resources(), load_data=lambda _: data)
    assert run_trial(trial, context) == Outcome("done")
    return safetensors.torch.load(store.trial(folder.name).read("checkpoint/final.safetensors"))


def check_all_is_whole(command_line: CommandLine, trials: int, store: Store, epochs: int):
    """Every trial is done once, its bits are those of an undisturbed run, and its history has every epoch once."""
    folders = sorted((command_line.store / "trials").iterdir())
    assert len(folders) == trials
    for folder in folders:
        found = safetensors.torch.load_file(folder / "checkpoint/final.safetensors")
        expected = undisturbed_tensors(folder, store)
        assert all(torch.equal(found[name], expected[name]) for name in expected)
        history = from_parquet(HistoryRow, (folder / "history.parquet").read_bytes(), "history")
        assert [row.epoch for row in history] == list(range(epochs))
        assert not list(folder.rglob("*.tmp"))
        assert not list(folder.glob("checkpoint/step-*"))
