"""What a trial gives that is left alone, to compare with one that was not."""

import functools
import json
import tempfile
from pathlib import Path

import safetensors.torch
import torch

from command_line import CommandLine
from evaluation.records import HistoryRow, from_parquet
from workers.outcome import Outcome
from workers.running.context import Context
from workers.running.run import run_trial
from workers.store.store import Store
from workers.trial import Evaluation, Resources, Trial


def undisturbed_tensors(folder: Path) -> dict[str, torch.Tensor]:
    """Return the final weights of the same trial, trained in this process: once for all tests."""
    return _trained(Store(folder.parents[1]).trial(folder.name).read("trial.json"))


@functools.cache
def _trained(identity: bytes) -> dict[str, torch.Tensor]:
    trial = Trial.from_json(json.loads(identity))
    evaluation = Evaluation(betas=(0.1,)).for_method(trial.method)
    with tempfile.TemporaryDirectory() as folder:
        context = Context(Store(Path(folder)), "undisturbed", evaluation, Resources(), load_data=_load)
        assert run_trial(trial, context) == Outcome("done")
        return safetensors.torch.load(context.store.trial(trial.trial_id).read("checkpoint/final.safetensors"))


def _load(dataset):
    return dataset.load(Path())


def has_undisturbed_bits(folder: Path) -> bool:
    """Whether a trial's final weights are those of one that was left alone."""
    found = safetensors.torch.load_file(folder / "checkpoint/final.safetensors")
    expected = undisturbed_tensors(folder)
    return found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in expected)


def check_all_is_whole(command_line: CommandLine, trials: int, epochs: int):
    """Every trial is done once, its bits are those of an undisturbed run, and its history has every epoch once."""
    folders = sorted((command_line.store / "trials").iterdir())
    assert len(folders) == trials
    for folder in folders:
        assert has_undisturbed_bits(folder)
        history = from_parquet(HistoryRow, (folder / "history.parquet").read_bytes(), "history")
        assert [row.epoch for row in history] == list(range(epochs))
        assert not list(folder.rglob("*.tmp"))
        assert not list(folder.glob("checkpoint/step-*"))
