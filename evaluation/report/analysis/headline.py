"""The headline of a report and its tiles. They always give compute and quality together."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

from evaluation.report.formatting import (
    between,
    counted,
    difference,
    duration,
    interval,
    percent,
    percent_change,
    significant,
    times,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from evaluation.report.analysis.comparison import Comparison
    from evaluation.report.analysis.verdict import Verdict
    from evaluation.report.content.series import Scale
    from evaluation.statistics import Estimate

DISTURBED = 0.1
"""Two ratios of cost, by CPU time and by device time, that differ by more are a sign of other work on the machine."""
FEW_POINTS = 4
"""Fewer points of a curve are too few to interpolate: most of the line between them is a guess."""
OPENINGS = {
    "yes": "Yes, {} replaces {}",
    "no": "No, {} does not replace {}",
    "undecided": "Undecided whether {} replaces {}",
}


@dataclass(frozen=True)
class Tile:
    """One large number and its meaning; if there is no number, `value` is a dash and `text` gives the reason.

    `better` says whether the number favours the MR-VAE, None where its interval includes both, or there is none.
    """

    value: str
    text: str
    better: bool | None = None


def headline(comparison: Comparison, verdict: Verdict, scale: Scale) -> str:
    """Return two sentences: whether one run replaces the sweep and what both cost, and how distortion compares."""
    opening = OPENINGS[verdict.answer].format(f"one {comparison.single} run", _sweep(comparison))
    return f"{opening}: {_costs(comparison)}. {_quality(comparison, scale)}."


def tiles(comparison: Comparison, scale: Scale) -> tuple[Tile, ...]:
    """Return the four figures beside the rate-distortion plot."""
    return (
        _cost_tile(comparison),
        _distortion_tile(comparison, scale),
        _rates_tile(comparison),
        _overhead_tile(comparison),
    )


def warnings(comparison: Comparison, scale: Scale) -> Iterator[str]:
    """Yield what a reader must know before the headline."""
    cost, found = comparison.cost, comparison.equal_rates
    if cost.by_device_time and cost.ratio.estimate.value:
        by_cpu = cost.ratio.estimate.value
        if abs(cost.by_device_time / by_cpu - 1) > DISTURBED:
            yield (
                f"Elapsed time and CPU time disagree: the sweep costs {times(cost.by_device_time)} times the run by "
                f"elapsed time, {times(by_cpu)} times by CPU time. Other programs on the machine are a usual cause. "
                "This report compares CPU time."
            )
    if found.distortion.reason or found.straight is None:
        return
    if found.points < FEW_POINTS:
        yield (
            f"A curve has {counted(found.points, 'point')} on its lower envelope. Distortion at equal rates is "
            f"interpolated between them, and needs {FEW_POINTS} or more to be reliable."
        )
    if not found.same_betas:
        yield (
            f"{comparison.single} has no finite point at one or more β values of the sweep, so its curve has other "
            "gaps than the sweep’s. “mrvae-orch evaluate” with this sweep’s name measures it where it was not "
            "measured."
        )
    if found.without_point:
        yield (
            f"{counted(found.without_point, 'β-VAE')} of the sweep, over all seeds, ended without a finite rate and "
            "distortion. The run is compared with the others only."
        )
    middle = found.distortion.estimate.value or 0.0
    if found.straight * middle < 0 and "0.00" not in (difference(found.straight), difference(middle)):
        yield (
            f"With straight lines between the points, the difference in distortion is {difference(found.straight)}"
            f"{_unit(scale)} instead of {difference(middle)}: it depends on the interpolation. Train more β-VAEs."
        )


def _unit(scale: Scale) -> str:
    return " nats" if scale.unit == "nats" else ""


def _sweep(comparison: Comparison) -> str:
    chosen = f" ({comparison.sweep}, the best of {comparison.sweeps} series)" if comparison.sweeps > 1 else ""
    if comparison.models == (1,):
        return f"one β-VAE{chosen}"
    models = between(comparison.models, 1) if len(comparison.models) > 1 else str(comparison.models[0])
    return f"the sweep of {models} β-VAEs{chosen}"


def _costs(comparison: Comparison) -> str:
    cost = comparison.cost
    if cost.ratio.reason:
        return f"their cost cannot be compared ({cost.ratio.reason})"
    single, sweep = map(duration, cost.seconds)
    return f"it costs {single} of {cost.clock} against {sweep}"


def _quality(comparison: Comparison, scale: Scale) -> str:
    found = comparison.equal_rates
    if found.distortion.reason:
        return f"Their distortion cannot be compared: {found.distortion.reason}"
    middle = found.distortion.estimate.value or 0.0
    size = difference(middle, sign=False)
    if size == "0.00":
        size = f"the same within 0.01{_unit(scale)}"
    else:
        size = f"{size}{_unit(scale)} {'higher' if middle > 0 else 'lower'}"
    spread = _known(found.distortion.estimate, interval(found.distortion.estimate, difference))
    return f"At equal rates its distortion is {size} ({spread}), over {_reached(comparison)} of the sweep’s rates"


def _known(estimate: Estimate, ends: str) -> str:
    """Return the interval and the number of seeds, such as "95 % interval −1.6 to 4.0, 2 seeds"."""
    seeds = counted(sum(estimate.seeds), "seed")
    return f"{percent(estimate.level)} interval {ends}, {seeds}" if ends else f"{seeds}, no interval"


def _reached(comparison: Comparison) -> str:
    return percent(statistics.fmean(comparison.equal_rates.reached))


def _cost_tile(comparison: Comparison) -> Tile:
    cost = comparison.cost
    ratio = cost.ratio.estimate
    if ratio.value is None:
        return Tile("–", f"cost: {cost.ratio.reason}")
    cheaper = ratio.value >= 1
    shown = ratio if cheaper else ratio.inverse()
    word = "less" if cheaper else "more"
    text = f"{word} {cost.clock} than the sweep, {' against '.join(map(duration, cost.seconds))}; "
    text += _known(ratio, interval(shown, times))
    if cost.with_choice is not None:
        text += f"; the sweep costs {times(cost.with_choice)}× with the choice of learning rates"
    if cost.remark:
        text += f"; {cost.remark}"
    return Tile(f"{times(shown.value or 1.0)}×", text, _better(ratio, 1.0, higher=True))


def _better(estimate: Estimate, equal: float, *, higher: bool) -> bool | None:
    """Return whether the interval is on the better side of the value of two equal methods; None if it includes it."""
    if estimate.low is None or estimate.high is None or estimate.low <= equal <= estimate.high:
        return None
    return (estimate.low > equal) == higher


def _distortion_tile(comparison: Comparison, scale: Scale) -> Tile:
    found = comparison.equal_rates
    value = found.distortion.estimate.value
    if value is None or found.rates is None:
        return Tile("–", f"distortion at equal rates: {found.distortion.reason}")
    known = _known(found.distortion.estimate, interval(found.distortion.estimate, difference))
    kind = "distortion" if _unit(scale) else "distortion (summed squared error)"
    same = difference(value) == "0.00"
    whole = statistics.fmean(found.sweep)
    share = f"{significant(100 * abs(value / whole), 2)} % " if whole else ""
    compared = "the same" if same else f"{share}higher" if value > 0 else f"{share}lower"
    text = f"{kind} at equal rates, {compared}; {known}; rates {between(found.rates)} nats"
    better = _better(found.distortion.estimate, 0.0, higher=False)
    return Tile(f"{difference(value)}{_unit(scale)}", text, better)


def _rates_tile(comparison: Comparison) -> Tile:
    found = comparison.equal_rates
    if not found.reached:
        return Tile("–", f"share of the sweep’s rates: {found.distortion.reason}")
    low, high = min(found.reached), max(found.reached)
    spread = f"; {percent(low)} to {percent(high)} by seed" if percent(low) != percent(high) else ""
    return Tile(_reached(comparison), f"of the sweep’s rates are reached by the run{spread}")


def _overhead_tile(comparison: Comparison) -> Tile:
    if comparison.time_overhead is None:
        devices = "the trials ran on different kinds of device" if comparison.cost.remark else ""
        reason = comparison.cost.ratio.reason or devices or "not recorded for both"
        value, text = "–", f"training time per image: {reason}"
    else:
        value = percent_change(comparison.time_overhead)
        text = f"{comparison.cost.clock} of training per image, relative to a β-VAE"
    if comparison.parameter_overhead is not None:
        text += f"; {percent_change(comparison.parameter_overhead)} parameters"
    return Tile(value, text)
