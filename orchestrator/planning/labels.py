"""Short names of trials and of nested settings, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from evaluation.operating_points import beta_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.planning.plan import PlannedTrial


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return nested values as text by dotted name, such as "training.epochs"."""
    flat: dict[str, str] = {}
    for key, value in values.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": str(value)}
    return flat


def describe(planned: PlannedTrial) -> str:
    """Return a trial's short name for people: its curve, β, seed and the start of its id."""
    betas = "…".join(map(beta_text, planned.trial.method.trained_betas))
    return f"{planned.series}, β {betas}, seed {planned.trial.seed} ({planned.trial_id[:8]})"
