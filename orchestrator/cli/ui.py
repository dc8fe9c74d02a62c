from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from orchestrator.cli.options import store_option
from orchestrator.errors import UserError

if TYPE_CHECKING:
    from workers.store import Store


@click.command("ui")
@store_option
@click.option("--port", type=click.IntRange(1, 65535), default=5000, show_default=True)
def command(store: Store, port: int) -> None:
    """Open MLflow's pages on the runs of a store, on this machine only.

    \b
    mrvae-orch ui --port 5001
    """
    from orchestrator.tracking_place import database_of

    database = database_of(store)
    if not database.exists():
        raise UserError(
            f"{database} is not there: nothing was forwarded to MLflow in this store yet; run mrvae-orch sync"
        )
    click.echo(f"MLflow: http://127.0.0.1:{port} (Ctrl-C ends it)")
    arguments = ["--backend-store-uri", f"sqlite:///{database}", "--host", "127.0.0.1", "--port", str(port)]
    command = [sys.executable, "-P", "-m", "mlflow", "ui", *arguments]
    # Without this MLflow starts a number of processes for jobs that nothing here asks for.
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    os.execve(sys.executable, command, environment)  # noqa: S606 (no shell is wanted)
