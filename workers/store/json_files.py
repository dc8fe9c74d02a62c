"""JSON files that anybody may have changed: typed reading, and a hash that tells a whole one."""

from __future__ import annotations

import hashlib
import json
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


class Record(dict[str, Any]):
    """The object of a JSON file that anybody may have changed."""

    def number(self, name: str) -> float | None:
        """Return a finite number, or None where there is none of that name."""
        value = self.get(name)
        return value if is_number(value) else None

    def text(self, name: str) -> str:
        """Return a text, or an empty one where there is none of that name."""
        value = self.get(name)
        return value if isinstance(value, str) else ""


def hashed(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the object of a JSON file with the hash of its values, under `sha256`."""
    values = {name: value for name, value in record.items() if name != "sha256"}
    return {**values, "sha256": hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()}


def is_whole(record: Mapping[str, Any]) -> bool:
    """Whether a record that `hashed` returned has the values that it had then."""
    return hashed(record) == record


def is_number(value: Any) -> bool:
    """Whether a value of a JSON file is a finite number, which fits in a float."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return False
    return abs(value) <= sys.float_info.max
