"""Learning rates, chosen by the trials that try them: derived from the store, never kept a second time."""

from __future__ import annotations

import functools
import math
import statistics
from typing import TYPE_CHECKING

from orchestrator.ledger import DONE, FAILED, read_status
from orchestrator.plan import plan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.plan import Candidate, Choice, Plan, PlannedTrial
    from orchestrator.spec import SweepSpec
    from workers.store import Store


def resolve(spec: SweepSpec, store: Store) -> Plan:
    """Return the plan of a spec, with the learning rates that the trials in the store have settled."""
    if spec.selection is None:
        return plan(spec)
    return plan(spec, functools.partial(choose, store))


def describe_choice(choice: Choice) -> str:
    """Return what is known of a choice, as a line."""
    rates = ", ".join(f"{candidate.learning_rate:g}" for candidate in choice.candidates)
    if choice.chosen is None:
        return f"{choice.series}: the learning rate is yet to be chosen of {rates}"
    return f"{choice.series}: learning rate {choice.chosen:g}, chosen of {rates}"


def choose(store: Store, candidates: Sequence[Candidate]) -> float | None:
    """Return the learning rate of least mean loss, the first of equals; None while a trial is still to finish.

    A rate whose training failed, as too high a one may, is out of the running. None too where all are.
    """
    losses = {candidate.learning_rate: mean_loss(store, candidate) for candidate in candidates}
    if None in losses.values():
        return None
    known = {rate: loss for rate, loss in losses.items() if loss is not None and math.isfinite(loss)}
    return min(known, key=known.__getitem__, default=None)


def mean_loss(store: Store, candidate: Candidate) -> float | None:
    """Return a candidate's mean loss over its seeds: infinite where one failed, None while one is to finish."""
    losses = [_loss(store, trial) for trial in candidate.trials]
    if math.inf in losses:
        return math.inf
    known = [loss for loss in losses if loss is not None]
    return statistics.fmean(known) if len(known) == len(losses) else None


def _loss(store: Store, planned: PlannedTrial) -> float | None:
    status = read_status(store, planned)
    if status.state == FAILED:
        return math.inf
    if status.state != DONE or status.manifest is None:
        return None
    # Imported here because it imports pyarrow, which planning does without as long as nothing was tried.
    from evaluation.records import Point, from_parquet

    folder, name = store.trial(planned.trial_id), f"points/{planned.evaluation.eval_id}.parquet"
    point, *_ = from_parquet(Point, folder.read_verified(status.manifest, name), folder.place(name))
    loss = point.distortion + point.beta * point.rate_nats
    return loss if math.isfinite(loss) else math.inf
