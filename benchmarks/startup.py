"""Processor time of short commands, as whole processes, against that of importing the libraries that they use."""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from orchestrator.planning.plan import plan
from orchestrator.spec.file import spec_from_text
from workers.running.context import Context
from workers.running.run import run_trial
from workers.store.store import Store

ROUNDS = 7
QUICKSTART = Path(__file__).parents[1] / "recipes/quickstart.yaml"
SPEC = """\
name: tiny
dataset: {name: digits, train_limit: 256}
architecture: {name: mlp, hidden: [32], latent_units: 4}
methods:
  - {kind: mr-vae, beta_range: [0.01, 10]}
  - {kind: beta-vae, betas: [0.1, 1]}
training: {epochs: 1}
seeds: [0]
"""
REFERENCES = {
    "an empty Python process": "pass",
    "import pydantic": "import pydantic; pydantic.BaseModel",
    "import pyarrow.parquet": "import pyarrow.parquet",
}
COMMANDS = {
    "--help": (["--help"], 0.1),
    "list": (["list"], 0.25),
    "status": (["status"], 0.25),
    "plan of the quickstart": (["plan", str(QUICKSTART)], 0.5),
    "status SWEEP": (["status", "tiny"], 0.45),
    "submit with nothing to do": (["submit", "spec.yaml"], 1.5),
    "doctor": (["doctor"], 2.0),
}
"""Each command with its bound: seconds of user and system time together, on a quiet machine."""


def run() -> None:
    """Print the median of each, its ratios to the references, and whether it is within its bound."""
    with tempfile.TemporaryDirectory() as folder:
        _finish_sweep(Path(folder))
        references = {name: _median([sys.executable, "-c", program], folder) for name, program in REFERENCES.items()}
        print(", ".join(f"{name}: {seconds:.3f} s" for name, seconds in references.items()))
        program = str(Path(sys.executable).with_name("mrvae-orch"))
        for name, (arguments, bound) in COMMANDS.items():
            seconds = _median([program, *arguments], folder)
            ratios = ", ".join(f"{seconds / value:.1f} × {other}" for other, value in references.items())
            result = "within" if seconds <= bound else "MISSED"
            print(f"{name}: {seconds:.3f} s of processor time, bound {bound:g} s: {result} ({ratios})")


def _finish_sweep(folder: Path) -> None:
    (folder / "spec.yaml").write_text(SPEC)
    for planned in plan(spec_from_text(SPEC, "benchmark")).trials:
        data = planned.trial.dataset.load(Path())
        context = Context(
            Store(folder / "runs"), "tiny", planned.evaluation, planned.resources, load_data=lambda _, data=data: data
        )
        assert run_trial(planned.trial, context).state == "done"
    # The first submit forwards the trials to MLflow, and leaves those that are measured nothing to do.
    _cpu_seconds([str(Path(sys.executable).with_name("mrvae-orch")), "submit", "spec.yaml"], str(folder))


def _median(command: list[str], folder: str) -> float:
    _cpu_seconds(command, folder)  # compiles what was not imported before, as an installation does
    return statistics.median(_cpu_seconds(command, folder) for _ in range(ROUNDS))


def _cpu_seconds(command: list[str], folder: str) -> float:
    unset = ("MRVAE", "MLFLOW", "RAY", "PYTHONDONTWRITEBYTECODE")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(unset)}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, cwd=folder, env=environment, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    run()
