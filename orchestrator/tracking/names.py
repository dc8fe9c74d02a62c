"""Names and values within MLflow's limits."""

from __future__ import annotations

import hashlib
import posixpath
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

KEY_LENGTH, PARAMETER_LENGTH, TAG_LENGTH = 250, 6000, 8000


def allowed_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Return the tags with allowed names, and values of at most 8,000 characters."""
    return {allowed_key(name): str(value)[:TAG_LENGTH] for name, value in tags.items()}


def allowed_parameters(parameters: Mapping[str, str]) -> dict[str, str]:
    """Return the parameters with allowed names, and values of at most 6,000 characters."""
    return {allowed_key(name): str(value)[:PARAMETER_LENGTH] for name, value in parameters.items()}


def allowed_key(name: str) -> str:
    """Return an allowed name of a metric, parameter or tag.

    Allowed are word characters, `/`, `.`, `-`, space and colon, as a relative path of at most 250 characters. A name
    that has to be changed ends with a hash of the original, so that different names stay different.
    """
    allowed = re.sub(r"[^/\w.\- :]", "_", name)
    readable = posixpath.normpath(allowed).lstrip("/.")
    if name and name == readable and len(name) <= KEY_LENGTH:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{readable[: KEY_LENGTH - 9].rstrip('/')}-{digest}"
