"""Learning rates chosen by trials: derived from the results in the store and kept nowhere else."""

from __future__ import annotations

import functools
import math
import statistics
from typing import TYPE_CHECKING

from orchestrator.planning.plan import plan
from orchestrator.sweeps.results import read_points
from orchestrator.sweeps.status import read_status
from workers.numerics import NUMERICS
from workers.outcome import TrialState

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from orchestrator.planning.plan import LearningRateCandidate, LearningRateChoice, Plan, PlannedTrial
    from orchestrator.spec.model import SweepSpec
    from workers.data.dataset import Dataset
    from workers.store.store import Store


def resolve(
    spec: SweepSpec,
    store: Store,
    with_content: Callable[[Dataset], Dataset] = lambda dataset: dataset,
    numerics: int = NUMERICS,
    *,
    at_sweep_betas: bool = True,
) -> Plan:
    """Return the plan of a spec, with the learning rates that follow from the results in the store.

    The other arguments are those of `orchestrator.planning.plan.plan`.
    """
    return plan(spec, functools.partial(choose, store), with_content, numerics, at_sweep_betas=at_sweep_betas)


def describe_choice(choice: LearningRateChoice) -> str:
    """Return the state of a choice as a line."""
    rates = ", ".join(f"{candidate.learning_rate:g}" for candidate in choice.candidates)
    if choice.chosen is None:
        return f"{choice.series}: learning rate not chosen yet; candidates {rates}"
    return f"{choice.series}: learning rate {choice.chosen:g}, chosen from {rates}"


def choose(store: Store, candidates: Sequence[LearningRateCandidate]) -> float | None:
    """Return the learning rate with the lowest mean loss, the first of equals; None while a trial is unfinished.

    A rate with a failed trial, which may be too high, is not chosen. Returns None if every rate has one.
    """
    losses = {candidate.learning_rate: mean_loss(store, candidate) for candidate in candidates}
    if None in losses.values():
        return None
    known = {rate: loss for rate, loss in losses.items() if loss is not None and math.isfinite(loss)}
    return min(known, key=known.__getitem__, default=None)


def mean_loss(store: Store, candidate: LearningRateCandidate) -> float | None:
    """Return a candidate's mean loss over its seeds: infinite if one failed, None while one is unfinished."""
    losses = [_loss(store, trial) for trial in candidate.trials]
    if math.inf in losses:
        return math.inf
    known = [loss for loss in losses if loss is not None]
    return statistics.fmean(known) if len(known) == len(losses) else None


def _loss(store: Store, planned: PlannedTrial) -> float | None:
    status = read_status(store, planned)
    if status.state == TrialState.FAILED:
        return math.inf
    if status.state != TrialState.DONE or status.manifest is None:
        return None
    (point,) = read_points(store.trial(planned.trial_id), status.manifest, planned.evaluation.eval_id)
    return point.loss if math.isfinite(point.loss) else math.inf
