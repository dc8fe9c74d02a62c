"""`make chaos N=50 SEED=1`: N faults at random moments, after which nothing may be lost."""

from __future__ import annotations

import signal
import sys
import tempfile
from pathlib import Path

import pytest

from chaos.faults import FAULTS
from chaos.runner import Runner
from chaos.world import World
from mlflow_server import MLflowServer, empty_database, sqlite_at
from object_server import ObjectServer


def main(number: int, seed: int) -> int:
    # A SIGTERM unwinds as an interrupt does, so that nothing is left running.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with (
        tempfile.TemporaryDirectory(prefix="chaos-mlflow-") as folder,
        pytest.MonkeyPatch.context() as patch,
        ObjectServer(patch) as objects,
    ):
        server = MLflowServer(Path(folder), sqlite_at(empty_database(Path(folder))))
        server.start()
        try:
            with World(objects, server, say) as world:
                if not world.disk_is_own:
                    say("no disk of its own could be mounted: disk_full is left out")
                runner = Runner(world, seed)
                runner.run(number)
        finally:
            server.kill()
    say(f"\n{runner.hits.total()} faults, seed {seed}:")
    for fault in FAULTS:
        say(f"  {runner.hits[fault.__name__]:3d}  {fault.__name__}: {fault.__doc__.splitlines()[0]}")
    say("\n".join(["", "LOST:", *world.lost]) if world.lost else "\nNothing is lost.")
    return 1 if world.lost else 0


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))
