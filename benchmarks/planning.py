"""How long people wait for `plan` and `status` on 10,000 trials, whole processes, against an empty one."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.planning.plan import plan
from orchestrator.spec.file import read_spec
from orchestrator.sweeps.sweep import save_sweep
from workers.store.manifest import Manifest, StoredFile
from workers.store.store import Store

if TYPE_CHECKING:
    from orchestrator.planning.plan import PlannedTrial

ROUNDS = 5
PLAN_BOUND_SECONDS, STATUS_BOUND_SECONDS = 3.0, 5.0
SPEC = """\
name: ten-thousand
dataset: {name: digits}
architecture: {name: mlp, hidden: [256, 128], latent_units: 8}
methods:
  - {kind: beta-vae, betas: {from: 0.01, to: 10, count: 100}}
training: {epochs: 10}
seeds: [0, 1, 2, 3, 4]
grid:
  training.learning_rate: [1e-4, 3e-4, 1e-3, 3e-3]
  architecture.latent_units: [2, 4, 8, 16, 32]
"""


def run() -> None:
    """Print the medians and ranges, and whether they are within the bounds."""
    with tempfile.TemporaryDirectory() as folder:
        spec_path = Path(folder) / "spec.yaml"
        spec_path.write_text(SPEC)
        store = Store(Path(folder) / "runs")
        started = time.perf_counter()
        trials = plan(read_spec(spec_path)).trials
        print(f"plan of {len(trials):,} trials in this process: {time.perf_counter() - started:.2f} s")
        _report("plan --json, nothing in the store", PLAN_BOUND_SECONDS, "plan", str(spec_path), "--json", store=store)
        save_sweep(store, plan(read_spec(spec_path)), now=0.0)
        for planned in trials:
            _finish(store, planned)
        _report("status --json, all trials done", STATUS_BOUND_SECONDS, "status", "ten-thousand", "--json", store=store)
        _report("plan --json, all trials done", None, "plan", str(spec_path), "--json", store=store)


def _finish(store: Store, planned: PlannedTrial) -> None:
    # Files of a finished trial's number and kind; what is in them does not matter to a state.
    folder = store.trial(planned.trial_id)
    folder.path().mkdir(parents=True)
    names = ("trial.json", "history.parquet", "points.parquet", "pictures.npz", "final.safetensors")
    files = {}
    for name in names:
        (folder.path() / name).write_bytes(b"x" * 100)
        files[name] = StoredFile(100, "0" * 64)
    manifest = Manifest(planned.trial_id, files, 1, 0.0, 1.0, parameters=1, evaluations=[planned.evaluation.eval_id])
    (folder.path() / "manifest.json").write_bytes(manifest.to_bytes())


def _report(title: str, bound: float | None, *arguments: str, store: Store) -> None:
    seconds, baseline = [], []
    for _ in range(ROUNDS):
        baseline.append(_time([sys.executable, "-c", "pass"]))
        seconds.append(
            _time([str(Path(sys.executable).with_name("mrvae-orch")), *arguments, "--store", str(store.root)])
        )
    median = statistics.median(seconds)
    verdict = "" if bound is None else f", bound {bound:g} s: {'within' if median <= bound else 'MISSED'}"
    print(
        f"{title}: median {median:.2f} s ({min(seconds):.2f} to {max(seconds):.2f}; an empty Python process "
        f"{statistics.median(baseline):.2f} s){verdict}"
    )


def _time(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


if __name__ == "__main__":
    run()
