"""Tracking URIs: the default one, and messages about one without its credentials."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import parse_qsl, unquote

_REASON_LENGTH = 300


def sqlite_uri(path: Path) -> str:
    """Return the URI of a database's file, in which no character of the path means anything else."""
    return f"sqlite:///{str(path).replace('%', '%25').replace('?', '%3F')}"


def is_sqlite(tracking_uri: str) -> bool:
    """Whether the URI names a SQLite database, which has no server."""
    return tracking_uri.startswith("sqlite:")


def sqlite_path(tracking_uri: str) -> Path:
    """Return the file of a SQLite database."""
    return Path(unquote(tracking_uri.removeprefix("sqlite:///").partition("?")[0]))


def lacks_scheme(tracking_uri: str) -> bool:
    """Whether the address names a user, and perhaps a password, without a scheme before it."""
    return "@" in tracking_uri and "://" not in tracking_uri


def redact(tracking_uri: str) -> str:
    """Return the URI without user, password, query and fragment, for messages."""
    scheme, mark, rest = tracking_uri.partition("://")
    if not mark:
        return "***" if lacks_scheme(tracking_uri) else tracking_uri
    if is_sqlite(tracking_uri):
        # The path of a file, in which # and @ are characters like any other.
        return scheme + mark + rest.partition("?")[0]
    return scheme + mark + re.split(r"[?#]", rest.rpartition("@")[2], maxsplit=1)[0]


def reason(error: BaseException, tracking_uri: str) -> str:
    """Return the cause of an error about the URI in one line, without the URI's credentials."""
    while (cause := error.__cause__ or error.__context__) is not None and not isinstance(cause, LookupError):
        error = cause
    text = str(error).strip() or type(error).__name__
    text = text.splitlines()[0].replace(tracking_uri, redact(tracking_uri))
    for secret in _secrets(tracking_uri):
        text = text.replace(secret, "***")
    text = re.sub(r"(?<=://)[^/\s]*@", "", text).rstrip(".")
    return text if len(text) <= _REASON_LENGTH else text[: _REASON_LENGTH - 1] + "…"


def _secrets(tracking_uri: str) -> set[str]:
    rest = tracking_uri.partition("://")[2]
    password = "" if is_sqlite(tracking_uri) else rest.rpartition("@")[0].partition(":")[2]
    values = [value for _, value in parse_qsl(rest.partition("?")[2])]
    return {secret for raw in (password, *values) for secret in (raw, unquote(raw)) if secret}
