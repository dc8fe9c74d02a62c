"""A grid of 21 × 21 trials from the command line: planned, run, submitted again, and reported, as a user does it."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SIDE = 21
SPEC = f"""\
name: grid
dataset: {{name: digits, train_limit: 128}}
architecture: {{name: mlp, hidden: [32], latent_units: 4}}
methods:
  - {{kind: beta-vae, betas: {{from: 0.01, to: 10, count: {SIDE}}}}}
training: {{epochs: 1, batch_size: 128}}
seeds: [0]
grid:
  training.learning_rate: [{", ".join(f"{1e-4 * 10 ** (index / 10):.6g}" for index in range(SIDE))}]
evaluation: {{pictures: 0}}
resources: {{cpus: 1}}
"""


def run() -> None:
    """Print the seconds of each step and the largest process's memory; fail where a trial is not done once."""
    with tempfile.TemporaryDirectory() as folder:
        spec, store = Path(folder) / "spec.yaml", Path(folder) / "runs"
        spec.write_text(SPEC)
        trials = json.loads(_command("plan", spec, "--json", store=store)[0])["trials"]
        assert len(trials) == SIDE**2
        _, planned = _command("plan", spec, store=store)
        _, ran = _command("submit", spec, store=store)
        said, again = _command("submit", spec, store=store)
        assert "Nothing to run" in said
        _, reported = _command("report", "grid", "--out", folder, store=store)
        counts = json.loads(_command("status", "grid", "--json", store=store)[0])["counts"]
        assert counts == {"done": SIDE**2}
        peak_gib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
        print(
            f"{SIDE} × {SIDE} trials of one step: planned in {planned:.1f} s, run in {ran:.0f} s "
            f"({ran / SIDE**2:.2f} s a trial, Ray's start, MLflow and the report included), submitted again in "
            f"{again:.1f} s, reported in {reported:.1f} s; the largest process took {peak_gib:.2f} GiB"
        )


def _command(*arguments: object, store: Path) -> tuple[str, float]:
    """Return what a command printed, and the seconds that it took."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "orchestrator.cli.main", *map(str, arguments), "--store", str(store)]
    done = subprocess.run(command, check=True, text=True, capture_output=True)
    return done.stdout, time.perf_counter() - started
