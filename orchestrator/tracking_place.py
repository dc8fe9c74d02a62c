"""Where a sweep is tracked: the URI that was given, remembered without its credentials, and the pages there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.errors import UserError
from workers.store import Folder
from workers.tracking_state import ForwardingState
from workers.tracking_uri import default_tracking_uri, redact

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from workers.store import Store

EXPERIMENT = "mrvae-orch"
TRACKING = "tracking.json"


def database_of(store: Store) -> Path:
    """Return MLflow's database in the store, the default tracking server."""
    return store.root / "mlflow.db"


def state_folder(store: Store) -> Folder:
    """Return where the store remembers what was forwarded."""
    return Folder(store.root / "tracking")


def resolve_tracking_uri(store: Store, name: str, tracking_uri: str | None) -> str:
    """Return where a sweep is forwarded to: the option, else where it was before, else the store's database.

    Raises UserError where it was a URI with a password, which is never written down.
    """
    if tracking_uri:
        return tracking_uri
    remembered = store.sweep(name).read_json(TRACKING) or {}
    uri = remembered.get("uri") or default_tracking_uri(store.root)
    if remembered.get("is_redacted"):
        raise UserError(f"sweep {name!r} is tracked at {uri} with credentials; give them with --tracking-uri")
    return str(uri)


def remember_tracking_uri(store: Store, name: str, uri: str) -> None:
    """Write down where a sweep is forwarded to, without credentials; the store's own database needs no note."""
    if uri == default_tracking_uri(store.root):
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
