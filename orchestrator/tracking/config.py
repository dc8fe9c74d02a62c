"""The tracking configuration of a sweep: its URI, stored without credentials, and the pages of its runs."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from orchestrator.errors import UserError
from orchestrator.tracking.named_servers import is_named, remember_named
from orchestrator.tracking.state import OWN, ForwardingState
from orchestrator.tracking.uri import redact, sqlite_path, sqlite_uri

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from workers.store.store import Folder, Store

EXPERIMENT = "mrvae-orch"
TRACKING = "tracking.json"
DATABASE = "mlflow.db"
ARTIFACTS = "mlartifacts"
"""The folder of artifacts beside a SQLite database."""
NO_DATABASE = "an object store cannot contain MLflow's database; give a server with --tracking-uri"


def database_of(store: Store) -> Path:
    """Return the path of MLflow's database in the store. Raises UserError for an object store."""
    if not store.is_local:
        raise UserError(f"{store}: {NO_DATABASE}")
    return store.folder("").path(DATABASE)


def default_uri(store: Store) -> str | None:
    """Return the URI of MLflow's database in the store, or None for an object store."""
    return sqlite_uri(database_of(store)) if store.is_local else None


def artifact_root(store: Store, uri: str) -> Path:
    """Return the folder of MLflow's artifacts for a SQLite database."""
    return store.folder("").path(ARTIFACTS) if store.is_local else sqlite_path(uri).absolute().with_name(ARTIFACTS)


def state_folder(store: Store) -> Folder:
    """Return the folder of the forwarding state."""
    return store.folder("tracking")


def forwarding_state(store: Store, uri: str) -> ForwardingState:
    """Return what the server at a URI has of the store's sweeps."""
    return ForwardingState(state_folder(store), OWN if uri == default_uri(store) else uri, EXPERIMENT)


def resolve_tracking_uri(store: Store, name: str, tracking_uri: str | None) -> str | None:
    """Return the tracking URI of a sweep: the option, else the one used before, else the store's database.

    Returns None on an object store without either. Raises UserError where the one used before had a password, which is
    never stored, or was never named by this user: the store may be somebody else's.
    """
    if tracking_uri:
        remember_named(tracking_uri)
        return tracking_uri
    remembered = store.sweep(name).read_record(TRACKING)
    uri = remembered.text("uri")
    if not uri:
        return default_uri(store)
    if remembered.get("is_redacted"):
        raise UserError(f"sweep {name!r} is tracked at {redact(uri)} with credentials; give them with --tracking-uri")
    if not is_named(uri):
        raise UserError(
            f"sweep {name!r} is tracked at {redact(uri)}, says the store, and you have not named that address on this "
            "machine. If your MLflow credentials may be sent there, give it once: --tracking-uri "
            f"{shlex.quote(redact(uri))}"
        )
    return uri


def remember_tracking_uri(store: Store, name: str, uri: str) -> None:
    """Store the tracking URI of a sweep without credentials, unless it is the store's own database."""
    if uri == default_uri(store):
        store.sweep(name).remove(TRACKING)
        return
    store.sweep(name).write_json(TRACKING, {"uri": redact(uri), "is_redacted": redact(uri) != uri})


def run_pages(store: Store, name: str) -> Mapping[str, str]:
    """Return the MLflow page of each trial on a server with a known address."""
    remembered = store.sweep(name).read_record(TRACKING)
    uri = remembered.text("uri")
    if not uri.startswith(("http://", "https://")) or remembered.get("is_redacted"):
        return {}
    state = forwarding_state(store, uri)
    page = f"{uri.rstrip('/')}/#/experiments/{state.experiment_id}/runs/"
    return {trial_id: page + forwarded.run_id for trial_id, forwarded in state.trials.items()}
