"""Failures in a trial's folder: of an attempt (`failure.json`), and of single metrics that a result then lacks."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from workers.store.layout import FAILED_METRICS, FAILURE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from workers.store.manifest import Manifest, StoredFile
    from workers.store.store import TrialFolder

_EVALUATING = re.compile(r'attempt\.py", line \d+, in _evaluate\n')


@dataclass(frozen=True)
class FailedMetric:
    """A metric that an evaluation could not compute, at `points` of its operating points, and why in one line.

    `metric` may also be "pictures", "traversals" or "sentences".
    """

    metric: str
    cause: str
    points: int
    of: int

    def __str__(self) -> str:
        where = f" at {self.points} of {self.of} β" if self.points < self.of else ""
        return f"{self.metric} failed{where}: {self.cause}"


def write_failed_metrics(folder: TrialFolder, eval_id: str, failed: Iterable[FailedMetric]) -> dict[str, StoredFile]:
    """Write the metrics that failed in an evaluation which is not in the manifest yet; returns the file, if any."""
    name, rows = _file(eval_id), list(map(asdict, failed))
    if rows:
        return {name: folder.write_json(name, rows)}
    folder.remove(name)
    return {}


def read_failed_metrics(folder: TrialFolder, manifest: Manifest, eval_id: str) -> tuple[FailedMetric, ...]:
    """Return the metrics that failed in an evaluation. A trial in which none did is not read."""
    name = _file(eval_id)
    if name not in manifest.files:
        return ()
    try:
        return tuple(map(_from_json, json.loads(folder.read(name) or b"")))
    except (ValueError, TypeError, KeyError):
        return (FailedMetric("a metric", f"{folder.place(name)} is damaged", 1, 1),)


def failed_in(failure: Mapping[str, Any], eval_id: str) -> bool:
    """Whether the attempt of this `failure.json` failed in training or in this evaluation, not in another one."""
    if "evaluation" in failure:
        return failure["evaluation"] in (None, eval_id)
    # Earlier releases did not say in which evaluation, and a single metric failed all of it. It can be tried again.
    return _EVALUATING.search(str(failure.get("traceback"))) is None


def forget_failures(folder: TrialFolder, eval_id: str) -> None:
    """Have an evaluation tried again that failed, or in which metrics did. Raises StoreError.

    The manifest no longer has the evaluation, so that new files can replace its files. Nothing is done while another
    process works on the trial.
    """
    folder.remove(FAILURE)
    manifest = folder.manifest()
    if manifest is None or _file(eval_id) not in manifest.files:
        return
    with folder.try_lock() as held:
        manifest = folder.manifest()
        if held and manifest is not None:
            folder.commit(folder.MANIFEST, _without(manifest, eval_id).to_bytes())


def _from_json(row: Mapping[str, Any]) -> FailedMetric:
    return FailedMetric(str(row["metric"]), str(row["cause"]), int(row["points"]), int(row["of"]))


def _without(manifest: Manifest, eval_id: str) -> Manifest:
    files = {name: entry for name, entry in manifest.files.items() if PurePosixPath(name).stem != eval_id}
    return replace(manifest, files=files, evaluations=[each for each in manifest.evaluations if each != eval_id])


def _file(eval_id: str) -> str:
    return f"{FAILED_METRICS}/{eval_id}.json"
