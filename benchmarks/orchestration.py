"""What Ray Tune, the order, the retries and the progress cost a trial, over the trial's own work.

The same 200 one-step trials, once by `run_trial` in this process and once through the executor on a warm local Ray,
one at a time both times, so that the difference is what orchestration adds.
"""

from __future__ import annotations

import io
import os
import tempfile
import time
from pathlib import Path

from rich.console import Console

from orchestrator import executor
from orchestrator.plan import plan
from orchestrator.progress import ProgressView
from orchestrator.spec_file import spec_from_text
from orchestrator.worker import WorkerSettings
from workers.run import Context, run_trial
from workers.store import Store

TRIALS = 200
BOUND_SECONDS = 0.1
SPEC = f"""\
name: one-step
dataset: {{name: digits, train_limit: 128}}
architecture: {{name: mlp, hidden: [32], latent_units: 4}}
methods:
  - {{kind: beta-vae, betas: {{from: 0.01, to: 10, count: {TRIALS}}}}}
training: {{epochs: 1, batch_size: 128}}
seeds: [0]
evaluation: {{pictures: 0}}
resources: {{cpus: {os.cpu_count()}}}
"""


def run() -> None:
    """Print the seconds a trial of both ways, and their difference against the bound."""
    trials = plan(spec_from_text(SPEC, "benchmark")).trials
    with tempfile.TemporaryDirectory() as folder:
        alone = _alone(trials, Store(Path(folder) / "alone"))
        with executor.local_ray():
            _through_ray(trials[:5], Store(Path(folder) / "warm"))
            through_ray = _through_ray(trials, Store(Path(folder) / "ray"))
    added = (through_ray - alone) / TRIALS
    print(
        f"{TRIALS} one-step trials: {alone / TRIALS:.3f} s each by themselves, {through_ray / TRIALS:.3f} s each "
        f"through Ray (a new worker's start included, {through_ray:.1f} s in all): {added:.3f} s added a trial, "
        f"bound {BOUND_SECONDS:g} s: {'within' if added <= BOUND_SECONDS else 'MISSED'}"
    )


def _alone(trials, store: Store) -> float:
    data = trials[0].trial.dataset.load(Path())
    run_trial(trials[0].trial, _context(trials[0], Store(store.root / "warm"), data))
    started = time.perf_counter()
    for planned in trials:
        assert run_trial(planned.trial, _context(planned, store, data)).state == "done"
    return time.perf_counter() - started


def _context(planned, store: Store, data) -> Context:
    return Context(store, "benchmark", planned.evaluation, planned.resources, load_data=lambda _: data)


def _through_ray(trials, store: Store) -> float:
    store.check_writable()
    settings = WorkerSettings(str(store.root), "benchmark", ".", str(store.root / "stop"), 30.0)
    view = ProgressView(Console(file=io.StringIO()), trials, {}, 1)
    started = time.perf_counter()
    outcomes = executor.execute(trials, settings, view, executor.StopRequest(store.root / "stop"))
    seconds = time.perf_counter() - started
    assert {outcome.state for outcome in outcomes.values()} == {"done"}
    assert len(outcomes) == len(trials)
    return seconds


if __name__ == "__main__":
    run()
