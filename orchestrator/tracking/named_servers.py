"""The tracking addresses that this user has named on this machine.

A store is written by anybody who shares it. If MLflow's address in it were used as it is, a command on a colleague's
store would send this user's name and password, or token, to whatever host it names.
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

from orchestrator.tracking.uri import redact
from workers.store.files import LocalFiles, StoreError

FILE = "mrvae-orch/tracking-servers.json"


def is_named(tracking_uri: str) -> bool:
    """Whether the user has named this address before, by option or environment."""
    return _shown(tracking_uri) in _named()


def remember_named(tracking_uri: str) -> None:
    """Note that the user has named an address, without its credentials; where there is no place to, it is not noted."""
    files, named = _files(), _named()
    if files is None or _shown(tracking_uri) in named:
        return
    with contextlib.suppress(StoreError):
        files.write(FILE, json.dumps(sorted({*named, _shown(tracking_uri)}), indent=1).encode(), mode=0o600)


def _shown(tracking_uri: str) -> str:
    return redact(tracking_uri).rstrip("/")


def _named() -> list[str]:
    files = _files()
    try:
        content = json.loads((files and files.read(FILE)) or "[]")
    except (ValueError, StoreError):
        return []
    return [uri for uri in content if isinstance(uri, str)] if isinstance(content, list) else []


def _files() -> LocalFiles | None:
    """Return the files of the user's settings, where the XDG Base Directory Specification has them."""
    place = Path(os.environ.get("XDG_CONFIG_HOME", ""))
    if place.is_absolute():
        return LocalFiles(place)
    try:
        return LocalFiles(Path.home() / ".config")
    except RuntimeError:
        return None  # a user without a home
