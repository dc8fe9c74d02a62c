"""Where a sweep is tracked: the URI that was given, remembered without its credentials, and the pages there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.errors import UserError
from workers.tracking_state import ForwardingState
from workers.tracking_uri import default_tracking_uri, redact, sqlite_path

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from workers.store import Folder, Store

EXPERIMENT = "mrvae-orch"
TRACKING = "tracking.json"


NO_DATABASE = "an object store holds no MLflow database; give a server with --tracking-uri"


def database_of(store: Store) -> Path:
    """Return MLflow's database in the store, the default tracking server. Raises UserError where it can have none."""
    if not store.is_local:
        raise UserError(f"{store}: {NO_DATABASE}")
    return store.root / "mlflow.db"


def default_uri(store: Store) -> str | None:
    """Return the URI of MLflow's database in the store; None where the store cannot hold one."""
    return default_tracking_uri(store.root) if store.is_local else None


def artifact_root(store: Store, uri: str) -> Path:
    """Return where MLflow keeps files beside a SQLite database."""
    return (store.root if store.is_local else sqlite_path(uri).absolute().parent) / "mlartifacts"


def state_folder(store: Store) -> Folder:
    """Return where the store remembers what was forwarded."""
    return store.folder("tracking")


def resolve_tracking_uri(store: Store, name: str, tracking_uri: str | None) -> str | None:
    """Return where a sweep is forwarded to: the option, else where it was before, else the store's database.

    None where none of these is there, on an object store. Raises UserError where it was a URI with a password, which
    is never written down.
    """
    if tracking_uri:
        return tracking_uri
    remembered = store.sweep(name).read_json(TRACKING) or {}
    uri = remembered.get("uri") or default_uri(store)
    if remembered.get("is_redacted"):
        raise UserError(f"sweep {name!r} is tracked at {uri} with credentials; give them with --tracking-uri")
    return uri and str(uri)


def remember_tracking_uri(store: Store, name: str, uri: str) -> None:
    """Write down where a sweep is forwarded to, without credentials; the store's own database needs no note."""
    if uri == default_uri(store):
        store.sweep(name).remove(TRACKING)
        return
    store.sweep(name).write_json(TRACKING, {"uri": redact(uri), "is_redacted": redact(uri) != uri})


def run_pages(store: Store, name: str) -> Mapping[str, str]:
    """Return the MLflow page of each trial, where a server with a known address has one."""
    remembered = store.sweep(name).read_json(TRACKING) or {}
    uri = str(remembered.get("uri", ""))
    if not uri.startswith(("http://", "https://")) or remembered.get("is_redacted"):
        return {}
    state = ForwardingState(state_folder(store), uri, EXPERIMENT)
    page = f"{uri.rstrip('/')}/#/experiments/{state.experiment_id}/runs/"
    return {trial_id: page + forwarded.run_id for trial_id, forwarded in state.trials.items()}
