"""The file of a trial's costs, of all its attempts. Imports no torch: the ledger and reports read it too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evaluation.records import Cost, RecordError, from_parquet, to_parquet

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workers.store import TrialFolder

COSTS = "costs.parquet"


def read_costs(folder: TrialFolder) -> list[Cost]:
    """Return the cost rows of all attempts so far; a damaged file counts as none."""
    content = folder.read(COSTS)
    if content is None:
        return []
    try:
        return from_parquet(Cost, content, folder.place(COSTS))
    except RecordError:
        return []


def write_costs(folder: TrialFolder, rows: Sequence[Cost]) -> None:
    """Write the cost rows of all attempts."""
    folder.write(COSTS, to_parquet(Cost, rows))
