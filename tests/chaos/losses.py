"""What a disturbed sweep has lost or done twice, found by comparing it with the same trials left alone."""

from __future__ import annotations

import functools
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import safetensors.torch
import torch

from evaluation.records import HistoryRow, Point, from_parquet
from orchestrator.sweeps.status import read_statuses
from orchestrator.sweeps.sweep import load_sweep
from orchestrator.tracking.names import allowed_key
from workers.accounting.costs import read_costs
from workers.outcome import TrialState
from workers.running.context import Context
from workers.running.metric_log import log_in, read_entries
from workers.running.run import run_trial
from workers.store.layout import HISTORY, LOGS
from workers.training.checkpoint import FINAL

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlflow_server import Backend
    from orchestrator.planning.plan import PlannedTrial
    from workers.store.store import Folder, Store, TrialFolder


@dataclass
class Seen:
    """What was seen of a sweep's trials from outside: attempts at work, by number, and results that were damaged."""

    attempts: dict[str, set[int]] = field(default_factory=dict)
    damaged: Counter[str] = field(default_factory=Counter)


def check_nothing_is_lost(store: Store, name: str, undisturbed: Store, backend: Backend, seen: Seen) -> None:
    """Raise AssertionError with everything that is lost, or there twice."""
    found = list(losses(store, name, undisturbed, backend, seen))
    assert not found, "\n".join(found)


def losses(store: Store, name: str, undisturbed: Store, backend: Backend, seen: Seen) -> Iterator[str]:
    """Yield what a sweep that has ended lacks or has twice, a sentence each."""
    planned = load_sweep(store, name).plan.trials
    if _stays_locked(store.sweep(name)):
        yield f"{name}: its lock is still held"
    statuses = read_statuses(store, planned, name)
    for each in planned:
        label = f"{name}: trial {each.trial_id[:8]}"
        if statuses[each.trial_id].state != TrialState.DONE:
            yield f"{label} is {statuses[each.trial_id].state}: {statuses[each.trial_id].message}"
            continue
        folder, other = store.trial(each.trial_id), undisturbed.trial(each.trial_id)
        train_undisturbed(each, undisturbed, name)
        for loss in (
            *_of_result(folder, other, each),
            *_of_metrics(folder, other),
            *_of_costs(folder, each, seen),
            *_of_tracking(folder, backend),
            *_left_behind(folder),
        ):
            yield f"{label}: {loss}"
    parents = [run for run in backend.runs() if run.get("mrvae.sweep") == name]
    if [run["status"] for run in parents] != ["FINISHED"]:
        yield f"{name}: MLflow has {len(parents)} runs of the sweep itself: {[run['status'] for run in parents]}"


def train_undisturbed(planned: PlannedTrial, store: Store, sweep: str) -> None:
    """Train the trial in this process, unless that was done before."""
    context = Context(store, sweep, planned.evaluation, planned.resources, load_data=_load)
    outcome = run_trial(planned.trial, context)
    assert outcome.state == "done", outcome


@functools.lru_cache
def _load(dataset):
    return dataset.load(Path())


def _of_result(folder: TrialFolder, other: TrialFolder, planned: PlannedTrial) -> Iterator[str]:
    manifest = folder.manifest()
    for name in manifest.files:
        if folder.stored(name) != manifest.files[name]:
            yield f"{name} is not the file that its manifest names"
    found, expected = (safetensors.torch.load(each.read(FINAL)) for each in (folder, other))
    if found.keys() != expected.keys():
        yield f"its tensors are {sorted(found)}, undisturbed {sorted(expected)}"
    for name in found.keys() & expected.keys():
        if not torch.equal(found[name], expected[name]):
            yield f"tensor {name} differs from the undisturbed one"
    if _history(folder) != _history(other):
        yield "its history differs from the undisturbed one"
    name = f"points/{planned.evaluation.eval_id}.parquet"
    points, expected = (repr(from_parquet(Point, each.read(name), name)) for each in (folder, other))
    if points != expected:
        yield "its points differ from the undisturbed ones"


def _history(folder: TrialFolder) -> list[HistoryRow]:
    # All but how long an epoch took.
    return [replace(row, seconds=0.0) for row in from_parquet(HistoryRow, folder.read(HISTORY), HISTORY)]


def _logged(folder: TrialFolder) -> list[tuple[str, int, int, float]]:
    entries, _ = read_entries(log_in(folder), 0)
    return [(name, each.step, each.timestamp_ms, value) for each in entries for name, value in each.metrics]


def _of_metrics(folder: TrialFolder, other: TrialFolder) -> Iterator[str]:
    found, expected = (Counter((n, step, value) for n, step, _, value in _logged(each)) for each in (folder, other))
    yield from _differences("metric", found, expected, "undisturbed")


def _of_tracking(folder: TrialFolder, backend: Backend) -> Iterator[str]:
    runs = [run for run in backend.runs() if run.get("trial_id") == folder.trial_id]
    if [run["status"] for run in runs] != ["FINISHED"]:
        yield f"MLflow has {len(runs)} runs of it: {[run['status'] for run in runs]}"
        return
    found = Counter((key, step, at, value) for key, step, at, value, _ in backend.history(folder.trial_id))
    expected = Counter((allowed_key(name), step, at, value) for name, step, at, value in _logged(folder))
    yield from _differences("metric in MLflow", found, expected, "in its log")


def _differences(what: str, found: Counter, expected: Counter, where: str) -> Iterator[str]:
    missing, surplus = expected - found, found - expected
    for title, some in (("missing", missing), ("too many", surplus)):
        if some:
            yield f"{some.total()} times a {what} is {title}, compared with {where}: {min(some)}"


def _of_costs(folder: TrialFolder, planned: PlannedTrial, seen: Seen) -> Iterator[str]:
    rows = read_costs(folder)
    outcomes: dict[int, set[str]] = {}
    for row in rows:
        outcomes.setdefault(row.attempt, set()).add(row.outcome)
    numbers = sorted(outcomes)
    begun = {int(name[-8:-4]) for name in folder.names(f"{LOGS}/attempt-*.txt")}
    known = begun | seen.attempts.get(folder.trial_id, set())
    if lost := sorted((known | set(range(1, max(numbers, default=1)))) - set(numbers)):
        yield f"the costs of its attempts {lost} are missing, of {len(numbers)} that are there"
    for key, count in Counter((row.attempt, row.phase) for row in rows).items():
        if count > 1:
            yield f"the cost of attempt {key[0]}'s {key[1]} phase is there {count} times"
    for number, ends in outcomes.items():
        if len(ends) != 1 or "running" in ends:
            yield f"attempt {number} ended as {sorted(ends)}"
    if numbers and outcomes[numbers[-1]] != {"done"}:
        yield f"its last attempt ended as {sorted(outcomes[numbers[-1]])}"
    trained = [(row.attempt, row.images) for row in rows if row.phase == "train"]
    needed = sum(row.images for row in _history(folder))
    paid = sum(images for _, images in trained)
    if paid < needed:
        yield f"its costs know of {paid} trained examples, and its history of {needed}"
    # An attempt that was killed between its last two writes is followed by one that only commits.
    first_done = min((number for number in numbers if "done" in outcomes[number]), default=0)
    if not seen.damaged[folder.trial_id] and any(number > first_done and images for number, images in trained):
        yield "it was trained again after it was done"


def _stays_locked(folder: Folder) -> bool:
    """Whether a lock outlives its holder for longer than one that could not be given back in an outage may."""
    deadline = time.monotonic() + folder.lock_seconds
    while folder.is_locked():
        if time.monotonic() >= deadline:
            return True
        time.sleep(0.5)
    return False


def _left_behind(folder: TrialFolder) -> Iterator[str]:
    if _stays_locked(folder):
        yield "its lock is still held"
    left = folder.names("checkpoint/step-*")
    if folder.is_local:
        left += [path.name for path in folder.path().rglob("*.tmp")]
    if left:
        yield f"{', '.join(left)} were left behind"
