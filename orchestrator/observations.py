"""What trials in the store took, for estimates of the ones to come."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from orchestrator.estimate import Estimate, estimate_all, observe
from orchestrator.ledger import DONE
from workers.costs import read_costs
from workers.trial import Trial
from workers.trial_files import TRIAL

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from orchestrator.ledger import TrialStatus
    from orchestrator.plan import PlannedTrial
    from workers.store import Store

MOST_OBSERVED = 50
"""So many trials tell enough; reading the costs of thousands would only make planning slow."""


def estimate_trials(
    store: Store, trials: Sequence[PlannedTrial], ledger: Mapping[str, TrialStatus]
) -> dict[str, Estimate]:
    """Return the expected cost of each trial by its id, from trials of this sweep, else from others in the store."""
    of_sweep = (planned for planned in trials if ledger[planned.trial_id].state == DONE)
    costs = ((planned.trial, read_costs(store.trial(planned.trial_id))) for planned in islice(of_sweep, MOST_OBSERVED))
    observed = [observe(trial, rows) for trial, rows in costs] or [
        observe(trial, read_costs(store.trial(trial.trial_id))) for trial in islice(_others(store), MOST_OBSERVED)
    ]
    return estimate_all(trials, [observation for observation in observed if observation is not None])


def _others(store: Store) -> Iterator[Trial]:
    for folder in store.finished_trials():
        record = folder.read_json(TRIAL)
        try:
            yield Trial.from_json(record)
        except (TypeError, KeyError, ValueError, AttributeError):
            continue  # of another release, or damaged: it tells nothing
