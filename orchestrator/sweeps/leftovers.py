"""What killed commands leave in a store: temporary files, and the progress and checkpoints of trials that are done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workers.outcome import TrialState
from workers.store.layout import PROGRESS, STEP_FILES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orchestrator.sweeps.status import TrialStatus
    from workers.store.store import Store, TrialFolder

WRITTEN_SECONDS = 600.0
"""No file takes longer to write, so that the writer of an older one is dead."""
SHARED_FOLDERS = ("tracking", "cache", "references", "comparisons")


def remove_leftovers(store: Store, sweep: str, statuses: Iterable[TrialStatus]) -> None:
    """Remove what is left in a sweep's folder, in its trials that are done and in the folders that all sweeps share.

    A trial that is not done removes what it finds when it runs. Raises StoreError.
    """
    done = [store.trial(status.trial_id) for status in statuses if status.state == TrialState.DONE]
    store.map(_tidy, done)
    for name in (f"sweeps/{sweep}", *SHARED_FOLDERS):
        store.folder(name).remove_unfinished_files(older_than=WRITTEN_SECONDS)


def _tidy(folder: TrialFolder) -> None:
    # The progress is what a trial removes last.
    if not folder.exists(PROGRESS) and not folder.has_unfinished_files():
        return
    with folder.try_lock() as lock:
        if lock and folder.manifest() is not None:
            for name in folder.names(STEP_FILES):
                folder.remove(name)
            folder.remove_unfinished_files()
            folder.remove(PROGRESS)
