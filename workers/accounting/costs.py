"""The file with the costs of all attempts at a trial. Imports no torch, because plans and reports read it too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evaluation.records import Cost, RecordError, from_parquet, to_parquet

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workers.store.store import TrialFolder

COSTS = "costs.parquet"
COPY = "log/costs.parquet"
"""A copy of the rows: the costs are stored nowhere else, so a damaged file would lose them."""


def read_costs(folder: TrialFolder) -> list[Cost]:
    """Return the cost rows of all attempts: from the copy where the file is damaged, none where both are damaged."""
    content = folder.read(COSTS)
    if content is None:
        return []
    rows = _rows(content)
    return (rows if rows is not None else _rows(folder.read(COPY) or b"")) or []


def write_costs(folder: TrialFolder, rows: Sequence[Cost]) -> None:
    """Write the cost rows of all attempts."""
    content = to_parquet(Cost, rows)
    folder.write(COSTS, content)
    folder.write(COPY, content)


def _rows(content: bytes) -> list[Cost] | None:
    try:
        return from_parquet(Cost, content, COSTS)
    except RecordError:
        return None
