"""Changes what a submitted sweep measures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.spec_file import spec_from_text, spec_yaml

if TYPE_CHECKING:
    from orchestrator.spec import SweepSpec


def with_evaluation(spec: SweepSpec, *, metrics: str | None, betas: str | None, split: str | None) -> SweepSpec:
    """Return the spec with metrics (comma-separated) added, and other β (comma-separated) or another split.

    Raises SpecError as for any spec.
    """
    overrides = []
    if metrics is not None:
        added = [name.strip() for name in metrics.split(",") if name.strip()]
        overrides.append(f"evaluation.metrics=[{', '.join(dict.fromkeys([*spec.evaluation.metrics, *added]))}]")
    if betas is not None:
        overrides.append(f"evaluation.betas=[{betas}]")
    if split is not None:
        overrides.append(f"evaluation.split={split}")
    return spec_from_text(spec_yaml(spec), spec.name, overrides)
