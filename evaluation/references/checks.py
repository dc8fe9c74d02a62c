"""The equivalence checks of a sweep: each method's curve, and the difference of each MR-VAE and each β-VAE."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evaluation.references.equivalence import Check, check_curve, check_difference
from evaluation.report.formatting import DISTORTION_UNITS, counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from evaluation.references.equivalence import Curve
    from evaluation.references.matching import MatchedCurve
    from evaluation.references.reference import Reference, ReferenceCurve
    from evaluation.report.content.series import Series


def checks(reference: Reference, matched: Sequence[MatchedCurve]) -> Iterator[Check]:
    """Yield the checks: the curves in the reference's order, then the differences of methods."""
    unit = DISTORTION_UNITS[reference.distortion_unit]
    for pair in matched:
        yield _check_curve(pair, reference, unit)
    for single in matched:
        for sweep in matched:
            methods = (single.series.method, sweep.series.method)
            if methods == ("mr-vae", "beta-vae") and single.subject == sweep.subject:
                yield _check_difference(single, sweep, reference, unit)


def _check_curve(pair: MatchedCurve, reference: Reference, unit: str) -> Check:
    tolerance = reference.tolerance.curve
    if tolerance is None:
        return Check(pair.name, "skipped", f"absolute distortions are not checked: {reference.tolerance.reason}")
    if reason := _unfinished(pair.series):
        return Check(pair.name, "undecided", reason, tolerance)
    here, there = _by_seed(pair.series), _by_reference_seed(pair.curve)
    return check_curve(pair.name, [*here.values()], [*there.values()], tolerance, unit)


def _check_difference(single: MatchedCurve, sweep: MatchedCurve, reference: Reference, unit: str) -> Check:
    name, tolerance = f"{single.name} less {sweep.name}", reference.tolerance.difference
    if reason := _unfinished(single.series) or _unfinished(sweep.series):
        return Check(name, "undecided", reason, tolerance)
    here = _paired(_by_seed(single.series), _by_seed(sweep.series))
    there = _paired(_by_reference_seed(single.curve), _by_reference_seed(sweep.curve))
    if not here or not there:
        where = "sweep" if there else "reference"
        return Check(name, "undecided", f"the two methods have no seed in common in the {where}", tolerance)
    return check_difference(name, here, there, tolerance, unit)


def _unfinished(series: Series) -> str:
    for seed in series.seeds:
        if not seed.complete:
            return f"{series.name}, seed {seed.seed}: {seed.done} of {counted(seed.trials, 'trial')} done"
    return ""


def _by_seed(series: Series) -> dict[int | None, Curve]:
    return {seed.seed: seed.pairs for seed in series.seeds}


def _by_reference_seed(curve: ReferenceCurve) -> dict[int | None, Curve]:
    return {seed.seed: seed.points for seed in curve.seeds}


def _paired(one: Mapping[int | None, Curve], other: Mapping[int | None, Curve]) -> list[tuple[Curve, Curve]]:
    return [(curve, other[seed]) for seed, curve in one.items() if seed in other]
