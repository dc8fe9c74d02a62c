"""A small sweep on digits, and the command line as users run it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
from click.testing import CliRunner

from orchestrator.cli.main import cli

SPEC = """\
name: tiny
dataset: {name: digits, train_limit: 256}
architecture: {name: mlp, hidden: [32], latent_units: 4}
objective: {likelihood: bernoulli}
methods:
  - {kind: mr-vae, beta_range: [0.01, 10]}
  - {kind: beta-vae, betas: [0.1, 1]}
training: {epochs: 3, batch_size: 64, learning_rate: 1e-3}
seeds: [0]
evaluation: {betas: [0.1, 0.3, 1]}
resources: {cpus: 2}
"""
"""Each trial takes both cores of a small machine, so that they run one after the other, in one worker."""


@dataclass(frozen=True)
class Finished:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)


class CommandLine:
    """`mrvae-orch` in a folder of its own, with `runs` as its store and no variables but those it is given."""

    def __init__(self, folder: Path, **variables: str) -> None:
        self.folder = folder
        self.variables = variables
        self.store = folder / "runs"

    def write_spec(self, text: str = SPEC, name: str = "spec.yaml") -> str:
        (self.folder / name).write_text(text)
        return name

    def start(self, *arguments: str, **variables: str) -> subprocess.Popen:
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("MRVAE", "MLFLOW", "RAY"))} | variables
        return subprocess.Popen(
            [Path(sys.executable).with_name("mrvae-orch"), *arguments],
            cwd=self.folder,
            env={**environment, **self.variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *arguments: str, timeout: float = 300, **variables: str) -> Finished:
        process = self.start(*arguments, **variables)
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            kill_all(process)
            raise
        return Finished(process.returncode, out, err)

    def ask(self, *arguments: str, **variables: str) -> Finished:
        """Run a command within this process, where starting Python would take longer than what it does."""
        place = () if "--store" in arguments else ("--store", str(self.store))
        without = {name: None for name in os.environ if name.startswith("MRVAE") or name == "MLFLOW_TRACKING_URI"}
        with contextlib.chdir(self.folder):
            result = CliRunner(env=without | variables).invoke(cli, [*arguments, *place], catch_exceptions=False)
        return Finished(result.exit_code, result.stdout, result.stderr)

    def plan(self, spec: str = "spec.yaml", *arguments: str) -> list[dict]:
        return self.ask("plan", spec, "--json", *arguments).json["trials"]

    def trial_folder(self, trial_id: str) -> Path:
        return self.store / "trials" / trial_id


def kill_all(process: subprocess.Popen) -> None:
    """Kill -9 a driver and everything that it has started, Ray's processes and workers too."""
    driver = psutil.Process(process.pid)
    family = [driver, *driver.children(recursive=True)]
    for member in family:
        try:
            member.send_signal(signal.SIGKILL)
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(family, timeout=30)
    process.communicate()


def wait_until(condition, seconds: float = 600):
    """Wait for something that another process does, and return it; the bound only ends a broken test."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"nothing happened within {seconds} s")
