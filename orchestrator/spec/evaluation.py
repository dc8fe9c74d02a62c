"""The section of a spec that says what to evaluate on every trained model."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

from pydantic import Field
from typing_extensions import Doc

from orchestrator.spec.betas import SHORT_DIGITS, Betas, beta_values, log_spaced
from orchestrator.spec.section import Distinct
from workers.trial import METRICS, Evaluation, EvaluationOptions, Method, MultiRateVAE

EVALUATED_BETAS = 20

if TYPE_CHECKING:
    from collections.abc import Iterable

    MetricName: TypeAlias = str
else:
    MetricName = Literal[METRICS]


@dataclass(frozen=True, kw_only=True)
class EvaluationSection(EvaluationOptions):
    """What to evaluate on every trained model. A change here retrains nothing."""

    betas: Annotated[
        Betas | None,
        Doc(
            f"β values at which to evaluate a Multi-Rate VAE; if omitted, {EVALUATED_BETAS} log-spaced values over its "
            "range. Those of the spec’s β-VAEs within its range are added, so that both are compared at the same β. A "
            "β-VAE is evaluated at its own β."
        ),
    ] = None
    metrics: Annotated[
        tuple[MetricName, ...], Distinct, Doc("Metrics besides rate, distortion and ELBO, which are always computed.")
    ] = EvaluationOptions.metrics
    intermediate: Annotated[
        int,
        Field(ge=0, le=10),
        Doc(
            "Number of evaluations of a Multi-Rate VAE during training, after 1/2, 1/4, 1/8 … of the epochs. They show "
            "the quality at a part of the compute; their own time is accounted separately."
        ),
    ] = 4

    def for_method(self, method: Method, sweep_betas: Iterable[float] = ()) -> Evaluation:
        """Return the evaluation of a trained model: of a Multi-Rate VAE also at the `sweep_betas` in its range."""
        if self.betas is not None:
            betas = tuple(sorted(beta_values(self.betas)))
        elif isinstance(method, MultiRateVAE):
            betas = log_spaced(method.beta_low, method.beta_high, EVALUATED_BETAS)
        else:
            betas = (method.beta,)
        if isinstance(method, MultiRateVAE):
            betas = _merged(betas, (beta for beta in sweep_betas if method.beta_low <= beta <= method.beta_high))
        shared = {field.name: getattr(self, field.name) for field in fields(EvaluationOptions)}
        return Evaluation(betas=betas, **shared).for_method(method)


def _merged(betas: Iterable[float], others: Iterable[float]) -> tuple[float, ...]:
    """Return both by rising β; of two that differ by rounding only, the one of `others`."""
    kept = {float(f"{beta:.{SHORT_DIGITS}g}"): beta for beta in (*betas, *others)}
    return tuple(sorted(kept.values()))
