"""MLflow's SQLite database: made whole or not at all, and with its artifacts where its store is now."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING
from urllib.parse import quote

from workers.store.files import sync_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

WAIT_SECONDS = 2.0
"""How long to wait for a lock; MLflow waits 20 s a call for a locked file, and 100 s for one that cannot be opened."""
_SIDES = ("-journal", "-wal", "-shm")
"""The endings of files that SQLite keeps beside a database; one that is left would be applied to the next database."""


_SETTLE = (
    "UPDATE experiments SET artifact_location = :location WHERE name = :name AND artifact_location IS NOT :location",
    "UPDATE runs SET artifact_uri = :location || '/' || run_uuid || '/artifacts' WHERE experiment_id IN "
    "(SELECT experiment_id FROM experiments WHERE name = :name) "
    "AND artifact_uri IS NOT :location || '/' || run_uuid || '/artifacts'",
)


def make_whole(path: Path, make: Callable[[str], object], newest: Callable[[], str | None]) -> None:
    """Make a database where there is none. It is made beside its place and renamed, so a kill leaves no half of one.

    A half that an earlier release left is replaced: a database without runs and without the newest tables.
    `make` makes these in the database of a URI, and `newest` returns their version. Raises sqlite3.Error or OSError.
    """
    if path.exists() and (_has_runs(path) or _schema(path) == newest() is not None):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.new")
    for name in ("", *_SIDES):
        aside.with_name(aside.name + name).unlink(missing_ok=True)
    with mlflow_uri(aside) as uri:
        make(uri)
    _give_usual_mode(aside)
    for name in _SIDES:
        path.with_name(path.name + name).unlink(missing_ok=True)
    aside.replace(path)
    sync_folder(path.parent)


@contextlib.contextmanager
def mlflow_uri(path: Path) -> Iterator[str]:
    """Give a URI under which MLflow finds a database during the block.

    MLflow 3.17 makes the folder of a URI's text as it is, where SQLAlchemy decodes % and cuts at ?; so a folder with
    these characters in its path is reached by a link to it.
    """
    if not {"%", "?"} & set(str(path)):
        yield f"sqlite:///{path}"
        return
    with TemporaryDirectory() as folder:
        link = Path(folder) / "store"
        link.symlink_to(path.parent.absolute())
        yield f"sqlite:///{link}/{path.name}"


def settle_artifacts(path: Path, root: Path, experiment: str) -> None:
    """Let the artifacts of an experiment's runs lie below `root`, as they do once a store was moved there.

    The database may name any other folder, also one outside the store. Raises sqlite3.Error.
    """
    values = {"name": experiment, "location": root.absolute().as_uri()}
    with _connected(path) as connection:
        connection.execute("BEGIN IMMEDIATE")
        for statement in _SETTLE:
            connection.execute(statement, values)
        connection.execute("COMMIT")


def probe(path: Path) -> None:
    """Raise sqlite3.Error where a database cannot be written now."""
    with _connected(path) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.rollback()


def _has_runs(path: Path) -> bool:
    with _connected(path) as connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        return "runs" in tables and bool(connection.execute("SELECT EXISTS (SELECT 1 FROM runs)").fetchone()[0])


def _schema(path: Path) -> str | None:
    """Return the version of a database's tables; None where they are not complete."""
    with _connected(path) as connection:
        try:
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        except sqlite3.OperationalError:
            return None  # no such table
        return row and str(row[0])


@contextlib.contextmanager
def _connected(path: Path) -> Iterator[sqlite3.Connection]:
    uri = f"file:{quote(str(path.absolute()))}?mode=rw"
    with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=WAIT_SECONDS, isolation_level=None)) as connection:
        yield connection


def _give_usual_mode(path: Path) -> None:
    # SQLite makes files of mode 0644, whatever the umask: in a group's store only their maker could write.
    umask = os.umask(0)
    os.umask(umask)
    path.chmod(0o666 & ~umask)
