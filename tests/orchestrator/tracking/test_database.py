"""MLflow's database in a store: whole after any kill, under any path, moved with its store, and a group's."""

import contextlib
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import pytest
from mlflow.tracking._tracking_service.utils import _artifact_repos_cache

from orchestrator.tracking.mlflow_client import Forwarder, TrackingUnavailable
from orchestrator.tracking.records import TrackedSweep
from orchestrator.tracking.uri import redact, sqlite_path, sqlite_uri
from tracked_trials import tracked_trial

ODD_NAMES = ("runs?x=1", "my%20runs", "h#sh", "sp ace", "ä'q\"β")
FORWARD = """
import sys
from pathlib import Path
from orchestrator.tracking.mlflow_client import Forwarder
from orchestrator.tracking.records import TrackedSweep
from orchestrator.tracking.uri import sqlite_uri
store = Path(sys.argv[1])
Forwarder(sqlite_uri(store / 'mlflow.db'), artifact_root=store / "mlartifacts", state_folder=store / "tracking",
          is_own=True).forward(TrackedSweep("sweep", ()))
"""


def forward(store: Path, *names: str):
    """Forward a sweep of trials with these names, with one artifact, as a new process does."""
    _artifact_repos_cache.clear()
    report = store / "report.html"
    report.write_text(f"the report on {names}")
    trials = tuple(tracked_trial(store / "trials", name) for name in names)
    uri = sqlite_uri(store / "mlflow.db")
    own = Forwarder(uri, artifact_root=store / "mlartifacts", state_folder=store / "tracking", is_own=True)
    return own.forward(TrackedSweep("sweep", trials, artifacts=(report,)))


def rows(store: Path, sql: str) -> list:
    uri = f"file:{quote(str(store / 'mlflow.db'))}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True)) as connection:
        return connection.execute(sql).fetchall()


@pytest.fixture
def store(tmp_path, empty_mlflow):
    """A store with MLflow's empty tables, whose making takes seconds."""
    store = tmp_path / "runs"
    store.mkdir()
    shutil.copy(empty_mlflow, store / "mlflow.db")
    return store


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_uri_leads_to_its_file_whatever_its_name(tmp_path, name):
    """No character of a folder's name is taken for a part of the URI, and messages show all of it."""
    store = tmp_path / name
    assert sqlite_path(sqlite_uri(store / "mlflow.db")) == store / "mlflow.db"
    assert sqlite_path(redact(sqlite_uri(store / "mlflow.db"))) == store / "mlflow.db"


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_store_of_any_name_has_everything_inside(store, name):
    """The database and the artifacts; nothing is written beside the store."""
    place = store.rename(store.with_name(name))
    before = set(place.parent.iterdir())
    assert forward(place, "a").runs_created == 2
    assert len(rows(place, "select run_uuid from runs")) == 2
    assert len(list((place / "mlartifacts").rglob("report.html"))) == 1
    assert set(place.parent.iterdir()) == before


def artifact_folders(store: Path) -> set[Path]:
    """Return the folders that runs and experiment name for their artifacts."""
    named = rows(
        store, "select artifact_uri from runs union select artifact_location from experiments where name != 'Default'"
    )
    return {Path(uri.removeprefix("file://")) for (uri,) in named}


def test_a_moved_store_has_its_artifacts_with_it(store):
    """Those of old runs too; the place that is gone does not come back."""
    forward(store, "a")
    moved = store.rename(store.with_name("archive"))
    assert forward(moved, "a", "b").runs_created == 1
    assert not store.exists()
    assert all(folder.is_relative_to(moved / "mlartifacts") for folder in artifact_folders(moved))
    (report,) = (moved / "mlartifacts").rglob("report.html")
    assert "b" in report.read_text()


def test_a_moved_store_is_not_looked_up_again(store):
    """What MLflow has is remembered for the store's own database, wherever that is."""
    forward(store, "a")
    (before,) = (store / "tracking").glob("*.json")
    moved = store.rename(store.with_name("archive"))
    assert forward(moved, "a").unchanged == 1
    assert [path.name for path in (moved / "tracking").glob("*.json")] == [before.name]


def test_artifacts_are_not_written_where_a_foreign_database_says(store, tmp_path):
    """A store from elsewhere may name any folder of this machine in its database."""
    forward(store, "a")
    outside = tmp_path / "outside"
    with closing(sqlite3.connect(store / "mlflow.db")) as connection:
        connection.execute("update runs set artifact_uri = ?", (f"{outside.as_uri()}/' || run_uuid",))
        connection.execute("update experiments set artifact_location = ?", (outside.as_uri(),))
        connection.commit()
    shutil.rmtree(store / "mlartifacts")
    (store / "tracking").joinpath(next((store / "tracking").glob("*.json")).name).unlink()
    forward(store, "a", "b")
    assert not outside.exists()
    assert len(list((store / "mlartifacts").rglob("report.html"))) == 1


def half_made(store: Path) -> None:
    """Leave what a kill left during the making of a database in its place."""
    (store / "mlflow.db").unlink()
    with closing(sqlite3.connect(store / "mlflow.db")) as connection:
        connection.execute("create table experiments (experiment_id integer, name text)")
        connection.execute("create table runs (run_uuid text)")
        connection.commit()


@pytest.mark.parametrize("leave", [half_made, lambda store: (store / "mlflow.db").write_bytes(b"")])
def test_a_half_made_database_is_replaced(store, leave):
    """Of an earlier release, or of another program that was killed; a journal beside it does not spoil the next one."""
    leave(store)
    (store / "mlflow.db-journal").write_bytes(b"stale")
    assert forward(store, "a").runs_created == 2
    assert not list(store.glob("*mlflow.db-*"))


def test_a_database_with_runs_is_never_replaced(store):
    """Also if its tables are of another version of MLflow."""
    forward(store, "a")
    with closing(sqlite3.connect(store / "mlflow.db")) as connection:
        connection.execute("update alembic_version set version_num = 'other'")
        connection.commit()
    with contextlib.suppress(TrackingUnavailable):
        forward(store, "b")
    assert {name for (name,) in rows(store, "select name from runs")} >= {"sweep", "beta-vae a"}


def test_a_damaged_database_is_named_and_kept(store):
    """It may have had runs."""
    (store / "mlflow.db").write_bytes(b"not a database" * 100)
    with pytest.raises(TrackingUnavailable, match="not a database"):
        forward(store, "a")
    assert (store / "mlflow.db").read_bytes() == b"not a database" * 100


def killed_at_first_use(store: Path, after: float) -> bool:
    """Kill -9 a process that makes the database after some seconds; returns whether it was still running."""
    process = subprocess.Popen([sys.executable, "-c", FORWARD, store], stderr=subprocess.DEVNULL)
    try:
        process.wait(after)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
        return True
    return False


@pytest.mark.slow
def test_a_kill_while_the_database_is_made_leaves_no_half(tmp_path):
    """Whenever it comes, the same command makes a whole one, and nothing is left beside it."""
    moments = random.Random(11)  # noqa: S311 (moments of kills)
    whole = tmp_path / "whole"
    began = time.monotonic()
    assert not killed_at_first_use(whole, 120)
    seconds = time.monotonic() - began
    killed = 0
    for number in range(8):
        store = tmp_path / str(number)
        killed += killed_at_first_use(store, moments.uniform(0.3, 1.0) * seconds)
        assert not killed_at_first_use(store, 120)
        assert rows(store, "select name from experiments where name = 'mrvae-orch'") == [("mrvae-orch",)]
        assert [path.name for path in store.glob("*mlflow.db*")] == ["mlflow.db"]
    assert killed


def test_the_database_of_a_group_has_the_mode_that_umask_gives(tmp_path):
    """With umask 002 the members of the group can write it, as they can write every other file of the store."""
    store = tmp_path / "runs"
    before = os.umask(0o002)
    try:
        forward_empty = subprocess.run([sys.executable, "-c", FORWARD, store], check=True, capture_output=True)
    finally:
        os.umask(before)
    assert forward_empty.returncode == 0
    assert (store / "mlflow.db").stat().st_mode & 0o777 == 0o664
