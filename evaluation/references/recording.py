"""Recording of a finished sweep as a reference: its curves of all seeds and their settings."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from evaluation.curves import common_means
from evaluation.references.matching import common_settings, trials_of
from evaluation.references.reference import Reference, ReferenceCurve, ReferenceSeed, Tolerance, check_name
from evaluation.report.content.series import gather
from evaluation.report.formatting import counted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from evaluation.report.content.contents import SweepRecord
    from evaluation.report.content.series import Series

TOLERANCE_SHARE = 0.03
"""The default tolerance as a share of the mean distortion: ±2 nats on Omniglot, as published curves allow."""


def recorded(sweep: SweepRecord, name: str, *, tolerance: float | None, now: float) -> Reference:
    """Return a finished sweep as a reference; `now` is in seconds since 1970, `tolerance` in the unit of distortion.

    Series without a curve, such as a single β-VAE, are left out, and the caveats say so.

    Raises:
        ValueError: the name is not allowed, or the sweep is not done, has no curve, or differs in its measurements.
    """
    check_name(name)
    if unfinished := sum(not trial.done for trial in sweep.trials) + sweep.waiting:
        total = counted(len(sweep.trials) + sweep.waiting, "trial")
        raise ValueError(f"{unfinished} of {total} are not done; submit the sweep again first")
    unit, split, examples = _measure(sweep)
    series, _ = gather(sweep.trials)
    whole = [one for one in series if all(seed.is_curve for seed in one.seeds)]
    if not whole:
        raise ValueError("no series has two different rates: a curve needs two values of β or more")
    shared = common_settings([trial for one in whole for trial in trials_of(sweep, one)])
    curves = tuple(_curve(sweep, one, shared) for one in whole)
    left_out = [one.name for one in series if one not in whole]
    return Reference(
        name=name,
        kind="recorded",
        source=f"sweep {sweep.name}",
        commit=sweep.commit,
        date=datetime.fromtimestamp(now, tz=UTC).date().isoformat(),
        caveats=tuple(f"{one} does not have two different rates and was left out" for one in left_out),
        distortion_unit=unit,
        split=split,
        examples=examples,
        scaled=sweep.scaled.by if sweep.scaled else None,
        tolerance=_tolerance(curves, tolerance),
        settings=shared,
        curves=curves,
    )


def _measure(sweep: SweepRecord) -> tuple[str, str, int]:
    found = {(point.distortion_unit, point.split, point.examples) for trial in sweep.trials for point in trial.points}
    if len(found) != 1:
        raise ValueError("its points must be in one unit, of one split and one number of examples; evaluate it again")
    return found.pop()


def _curve(sweep: SweepRecord, series: Series, shared: Mapping[str, str]) -> ReferenceCurve:
    trials = trials_of(sweep, series)
    own = {key: value for key, value in common_settings(trials).items() if key not in shared}
    seeds = tuple(
        ReferenceSeed(
            seed.seed, tuple(sorted(trial.trial_id for trial in trials if trial.seed == seed.seed)), seed.pairs
        )
        for seed in series.seeds
    )
    return ReferenceCurve(series.name, own, seeds)


def _tolerance(curves: Sequence[ReferenceCurve], stated: float | None) -> Tolerance:
    if stated is not None:
        if not (math.isfinite(stated) and stated > 0):
            raise ValueError(f"the tolerance is {stated:g}; it must be a finite number above 0")
        return Tolerance(stated, stated, "as given when it was recorded")
    common = common_means([seed.points for curve in curves for seed in curve.seeds])
    mean = math.fsum(common.means) / len(common.means) if common.means else 0.0
    if mean <= 0:
        reason = common.reason or "their mean distortion is not above 0"
        raise ValueError(f"no tolerance can be derived from the curves ({reason}); give one with --tolerance")
    chosen = float(f"{TOLERANCE_SHARE * mean:.2g}")
    reason = f"{100 * TOLERANCE_SHARE:g} % of the mean distortion of its curves over the rates that they share"
    return Tolerance(chosen, chosen, reason)
