from __future__ import annotations

import contextlib
import os
import sqlite3
import sys
from typing import TYPE_CHECKING

import click

from orchestrator.cli.options import store_option
from orchestrator.errors import UserError
from orchestrator.terminal import echo

if TYPE_CHECKING:
    from workers.store.store import Store


@click.command("ui")
@store_option
@click.option("--port", type=click.IntRange(1, 65535), default=5000, show_default=True, help="Port of the pages.")
def command(store: Store, port: int) -> None:
    """Serve MLflow's web pages for a store's runs, on this machine only.

    \b
    mrvae-orch ui --port 5001
    """
    from orchestrator.tracking.config import ARTIFACTS, EXPERIMENT, database_of
    from orchestrator.tracking.database import settle_artifacts

    database = database_of(store)
    if not database.exists():
        raise UserError(f"{database} does not exist: no run has been uploaded from this store yet; run mrvae-orch sync")
    with contextlib.suppress(sqlite3.Error):  # of a user who may only read; then a moved store's files are not shown
        settle_artifacts(database, store.folder("").path(ARTIFACTS), EXPERIMENT)
    echo(f"MLflow: http://127.0.0.1:{port} (Ctrl-C ends it)")
    arguments = ["--backend-store-uri", f"sqlite:///{database.name}", "--host", "127.0.0.1", "--port", str(port)]
    command = [sys.executable, "-P", "-m", "mlflow", "ui", *arguments]
    # Without this MLflow starts a number of processes for jobs that nothing here asks for.
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    os.chdir(store.root)  # in a URI, characters of the path would have other meanings
    os.execve(sys.executable, command, environment)  # noqa: S606 (no shell is wanted)
