"""The report that is in a folder already: one that knows more is not replaced."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evaluation.report.content.contents import SweepRecord
    from workers.store.store import Folder

POINTS = "points.parquet"


def results_only_there(folder: Folder, record: SweepRecord) -> list[str]:
    """Return the trials of a sweep whose results the report in the folder has, and the record has not, by their ids.

    Trials that the sweep no longer has do not count.
    """
    found = {trial.trial_id: bool(trial.points) for trial in (*record.trials, *record.tried)}
    return sorted(trial_id for trial_id in _reported(folder) if not found.get(trial_id, True))


def _reported(folder: Folder) -> set[str]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    content = folder.read(POINTS)
    if content is None:
        return set()
    try:
        # As `evaluation.records.from_parquet` reads, which says why.
        table = pq.ParquetFile(pa.BufferReader(content)).read(columns=["trial_id"], use_threads=False)
    except (pa.ArrowException, OSError, KeyError):
        return set()
    return set(table.column("trial_id").unique().to_pylist()) if table.num_columns else set()
