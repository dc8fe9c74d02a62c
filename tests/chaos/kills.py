"""Kill -9 at random moments of each command that writes, followed by the same command: `make kills N=200 SEED=1`."""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from chaos.losses import Seen, losses, train_undisturbed
from command_line import CommandLine, kill_all
from mlflow_server import Backend, sqlite_at
from orchestrator.sweeps.sweep import load_sweep
from orchestrator.tracking.config import EXPERIMENT
from workers.store.layout import PROGRESS
from workers.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

COMMANDS = (("submit", "spec.yaml"), ("evaluate", "tiny", "--metrics", "psnr"), ("sync", "tiny"), ("report", "tiny"))
"""The first is also the first use of the store and of MLflow's database in it."""
MOST_KILLS = 3
"""Of one command, before it may end."""
WHOLE_SECONDS = {"submit": 12.0, "evaluate": 10.0, "sync": 4.0, "report": 3.0}
"""Guesses, until each command was first seen to its end."""


@dataclass
class Kills:
    """Rounds of all commands on a fresh store each, and what was lost or left behind in them."""

    folder: Path
    seed: int
    say: Callable[[str], None]
    lost: list[str] = field(default_factory=list)
    hits: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, float] = field(default_factory=lambda: dict(WHOLE_SECONDS))

    def run(self, number: int) -> None:
        """Kill at least `number` times."""
        moments = random.Random(self.seed)  # noqa: S311 (moments of kills)
        rounds = 0
        while self.hits.total() < number:
            self._round(self.folder / f"round-{rounds}", moments, number - self.hits.total())
            rounds += 1
            self.say(f"{self.hits.total()} of {number} kills, {len(self.lost)} losses")

    def _round(self, folder: Path, moments: random.Random, left: int) -> None:
        folder.mkdir()
        line = CommandLine(folder)
        line.write_spec()
        undisturbed = Store(self.folder / "undisturbed")
        for command in COMMANDS:
            for _ in range(min(moments.randint(1, MOST_KILLS), left)):
                left -= self._kill(line, command, moments)
            self._to_its_end(line, command)
            for each in load_sweep(Store(line.store), "tiny").plan.trials if command[0] != "sync" else ():
                train_undisturbed(each, undisturbed, "tiny")
        self.lost += [f"{folder.name}: {loss}" for loss in self._losses(line, undisturbed)]

    def _kill(self, line: CommandLine, command: tuple[str, ...], moments: random.Random) -> int:
        """Start a command and kill it with all that it started; returns 0 where it had ended before."""
        after = moments.uniform(0, self.seconds[command[0]])
        process = line.start(*command, "--store", str(line.store))
        try:
            process.wait(after)
        except subprocess.TimeoutExpired:
            kill_all(process)
            self.hits[command[0]] += 1
            return 1
        process.communicate()
        return 0

    def _to_its_end(self, line: CommandLine, command: tuple[str, ...]) -> None:
        begun = time.monotonic()
        done = line.run(*command, "--store", str(line.store))
        self.seconds[command[0]] = time.monotonic() - begun
        behind = [text for text in done.out.splitlines() if text.startswith("MLflow is behind")]
        if done.code != 0 or "Traceback" in done.err + done.out or behind:
            self.lost.append(f"{line.folder.name}: {' '.join(command)} ended with {done.code}: {done.err}{done.out}")

    def _losses(self, line: CommandLine, undisturbed: Store) -> Iterator[str]:
        store = Store(line.store)
        database = sqlite_at(line.store / "mlflow.db")
        yield from losses(store, "tiny", undisturbed, Backend(database.uri, database, EXPERIMENT), Seen())
        for path in sorted(line.store.rglob("*")):
            # Elsewhere than in trials, a temporary file may be somebody's until it is old.
            if path.name == PROGRESS or (path.name.endswith(".tmp") and "trials" in path.parts):
                yield f"{path.relative_to(line.store)} was left behind"
        for each in load_sweep(store, "tiny").plan.trials:
            manifest = store.trial(each.trial_id).manifest()
            if manifest is not None and len(manifest.evaluations) != len(set(manifest.evaluations)):
                yield f"trial {each.trial_id[:8]} was evaluated twice: {manifest.evaluations}"


def main(number: int, seed: int) -> int:
    """Kill, print what was lost, and return the exit code."""
    with tempfile.TemporaryDirectory(prefix="kills-") as folder:
        kills = Kills(Path(folder), seed, say)
        kills.run(number)
    say(f"\n{kills.hits.total()} kills, seed {seed}: {dict(kills.hits)}")
    say("\n".join(["LOST:", *kills.lost]) if kills.lost else "Nothing is lost.")
    return 1 if kills.lost else 0


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))
