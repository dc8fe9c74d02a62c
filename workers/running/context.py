"""The context that a trial runs in: its store, data, resources and callbacks."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from workers.data.dataset import Dataset
    from workers.data.split import ResidentData
    from workers.distributed.ranks import RankInfo
    from workers.outcome import Progress
    from workers.store.store import Store
    from workers.trial import Evaluation, IntermediateEvaluation, Resources


@dataclass(frozen=True)
class Context:
    """Everything a trial needs that is not part of its identity.

    `load_data` may cache. `should_stop` is asked after every step; once it returns true, the trial checkpoints and
    returns. `report` is called after every step. `rank` is given if several processes train the trial: all get the
    same trial and evaluations. `verbose` logs every epoch and checkpoint. `clock` measures
    durations, `now` dates files.
    """

    store: Store
    sweep: str
    evaluation: Evaluation
    resources: Resources
    load_data: Callable[[Dataset], ResidentData]
    intermediate_evaluation: IntermediateEvaluation | None = None
    rank: RankInfo | None = None
    inception_weights: Path | None = None
    should_stop: Callable[[], bool] = lambda: False
    report: Callable[[Progress], None] = lambda _: None
    checkpoint_seconds: float = 30.0
    verbose: bool = False
    provenance: Mapping[str, str] = field(default_factory=dict)
    clock: Callable[[], float] = time.perf_counter
    now: Callable[[], float] = time.time
