"""The headline of a report and its tiles. They always give compute and quality together."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from evaluation.report.content.series import mean_over_seeds
from evaluation.report.formatting import (
    between,
    counted,
    difference,
    interval,
    percent,
    percent_change,
    share_difference,
    times,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from evaluation.report.analysis.comparison import Comparison, OverSeeds
    from evaluation.report.content.series import Scale, Series
    from evaluation.statistics import Estimate


@dataclass(frozen=True)
class Tile:
    """One large number and its meaning; if there is no number, `value` is a dash and `text` gives the reason."""

    value: str
    text: str


def headline(comparison: Comparison, scale: Scale) -> str:
    """Return one or two sentences: training at equal quality, total cost of one run, and its distortion."""
    if comparison.equal_quality.reason:
        return _whole(comparison, scale, f"one {comparison.single} run", _sweep(comparison))
    whole = _whole(comparison, scale, "the whole run", "the whole sweep")
    return f"{_equal_quality(comparison)} {whole}"


def tiles(comparison: Comparison, series: tuple[Series, ...], scale: Scale) -> tuple[Tile, ...]:
    """Return the six figures below the headline."""
    return (
        _equal_quality_tile(comparison),
        _compute_tile(comparison),
        _distortion_tile(comparison, scale),
        _equal_compute_tile(comparison),
        _overhead_tile(comparison),
        _hypervolume_tile(comparison, series, scale),
    )


def _equal_quality(comparison: Comparison) -> str:
    level = "equal quality" if comparison.share == 1 else f"{percent(comparison.share)} of the sweep’s best quality"
    amount = _amount(comparison.equal_quality.estimate, "training ")
    return f"For {level}, one {comparison.single} run takes {amount} {_sweep(comparison)}."


def _whole(comparison: Comparison, scale: Scale, one: str, other: str) -> str:
    """Return the sentence on the compute of all trials and on distortion."""
    compute_reason, distortion_reason = comparison.times_cheaper.reason, comparison.distortion.reason
    if compute_reason and distortion_reason:
        return _sentence(f"{one} and {other} cannot be compared: {compute_reason}; {distortion_reason}.")
    if compute_reason:
        return _sentence(
            f"the compute of {one} and {other} cannot be compared: {compute_reason}; the mean distortion of the one "
            f"run is {_quality(comparison, scale)}{_seeds(comparison)}."
        )
    costs = f"{one} costs {_amount(comparison.times_cheaper.estimate)} {other}"
    if distortion_reason:
        reason = f"their distortion cannot be compared: {distortion_reason}"
        return _sentence(f"{costs}{_seeds(comparison)}; {reason}.")
    return _sentence(f"{costs} and its mean distortion is {_quality(comparison, scale)}{_seeds(comparison)}.")


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]


def _sweep(comparison: Comparison) -> str:
    chosen = f" ({comparison.sweep}, the best of {comparison.sweeps} series)" if comparison.sweeps > 1 else ""
    if comparison.models == (1,):
        return f"one β-VAE{chosen}"
    models = between(comparison.models, 1) if len(comparison.models) > 1 else str(comparison.models[0])
    return f"the sweep of {models} β-VAEs{chosen}"


def _amount(ratio: Estimate, what: str = "") -> str:
    """Return a ratio in words, such as "4.0 times less (3.8 to 4.2) than"."""
    middle = ratio.value or 1.0
    if times(max(middle, 1 / middle)) == "1.0":
        return f"as much {what}{_spread(interval(ratio, lambda value: times(value) + '×'))}as"
    if middle > 1:
        return f"{times(middle)} times less {what}{_spread(interval(ratio, times))}than"
    inverse = interval(_inverse(ratio), times)
    return f"{times(1 / middle)} times more {what}{_spread(inverse)}than"


def _inverse(ratio: Estimate) -> Estimate:
    if ratio.low is None or ratio.high is None:
        return ratio
    return replace(ratio, low=1 / ratio.high, high=1 / ratio.low)


def _spread(ends: str) -> str:
    return f"({ends}) " if ends else ""


def _quality(comparison: Comparison, scale: Scale) -> str:
    estimate = comparison.distortion.estimate
    middle = estimate.value or 0.0
    size = difference(middle, sign=False)
    unit = " nats" if scale.unit == "nats" else ""
    if size == "0.00":
        size = f"the same within 0.01{unit}"
    else:
        size += f"{unit} {'higher' if middle > 0 else 'lower'}"
    if not unit:
        size += " in summed squared error"
    spread = _spread(interval(estimate, difference))
    return f"{size} {spread}over rates {between(scale.rates or ())}{_contradiction(comparison, middle)}"


def _contradiction(comparison: Comparison, middle: float) -> str:
    """Return a remark if the difference changes its sign once both curves are interpolated over the same gaps."""
    same = statistics.fmean(comparison.differences_same_betas or (middle,))
    if same * middle >= 0 or "0.00" in (difference(same), difference(middle)):
        return ""
    return f" but {difference(same, sign=False)} {'higher' if same > 0 else 'lower'} only at the sweep’s β values"


def _seeds(comparison: Comparison) -> str:
    seeds = len(comparison.seeds)
    if seeds == 1:
        return " (one seed, no interval)"
    return f" ({percent(comparison.times_cheaper.estimate.level)} intervals over {seeds} seeds)"


def _tile(value: str, text: str, of: OverSeeds, write: Callable[[float], str]) -> Tile:
    ends = interval(of.estimate, write)
    known = f"{percent(of.estimate.level)} interval {ends}" if ends else "one seed, no interval"
    return Tile(value, f"{text}; {known}")


def _equal_quality_tile(comparison: Comparison) -> Tile:
    found = comparison.equal_quality
    if found.estimate.value is None:
        return Tile("–", f"training at equal quality: {found.reason}")
    level = "equal quality" if comparison.share == 1 else f"{percent(comparison.share)} of the sweep’s best quality"
    text = f"training time of the sweep over that of the run, at {level}"
    return _tile(f"{times(found.estimate.value)}×", text, found, times)


def _equal_compute_tile(comparison: Comparison) -> Tile:
    found = comparison.equal_compute
    if found.estimate.value is None:
        return Tile("–", f"quality at equal training: {found.reason}")
    text = "hypervolume minus the sweep’s at the same training time"
    return _tile(share_difference(found.estimate.value), text, found, share_difference)


def _compute_tile(comparison: Comparison) -> Tile:
    found = comparison.times_cheaper
    if found.estimate.value is None:
        return Tile("–", f"compute: {found.reason}")
    text = "device time of the whole sweep over that of the run"
    if comparison.times_cheaper_with_choice is not None:
        text += f"; {times(comparison.times_cheaper_with_choice)}× with the choice of learning rates"
    if comparison.remark:
        text += f"; {comparison.remark}"
    return _tile(f"{times(found.estimate.value)}×", text, found, times)


def _distortion_tile(comparison: Comparison, scale: Scale) -> Tile:
    found = comparison.distortion
    if found.estimate.value is None or scale.rates is None:
        return Tile("–", f"mean distortion: {found.reason}")
    unit = " nats" if scale.unit == "nats" else ""
    kind = "mean distortion" if unit else "mean distortion (summed squared error)"
    tile = _tile(
        f"{difference(found.estimate.value)}{unit}", f"{kind} at rates {between(scale.rates)}", found, difference
    )
    if not comparison.differences_same_betas:
        return tile
    same = difference(statistics.fmean(comparison.differences_same_betas))
    return Tile(tile.value, f"{tile.text}; {same} only at the sweep’s β values")


def _overhead_tile(comparison: Comparison) -> Tile:
    if comparison.time_overhead is None:
        devices = "the trials ran on different kinds of device" if comparison.remark else ""
        reason = comparison.times_cheaper.reason or devices or "not recorded for both"
        value, text = "–", f"training time per image: {reason}"
    else:
        value, text = percent_change(comparison.time_overhead), "training time per image, relative to a β-VAE"
    if comparison.parameter_overhead is not None:
        text += f"; {percent_change(comparison.parameter_overhead)} parameters"
    return Tile(value, text)


def _hypervolume_tile(comparison: Comparison, series: tuple[Series, ...], scale: Scale) -> Tile:
    single, sweep = (next(one for one in series if one.name == name) for name in (comparison.single, comparison.sweep))
    whole = [mean_over_seeds([seed.hypervolume for seed in one.seeds]) for one in (single, sweep)]
    equal = [mean_over_seeds([seed.hypervolume_same_betas for seed in one.seeds]) for one in (single, sweep)]
    if None in whole or None in equal or scale.reference is None:
        return Tile("–", f"hypervolume: {comparison.distortion.reason or 'not defined for these curves'}")
    return Tile(
        " / ".join(f"{value:.3f}" for value in equal),
        f"hypervolume, {comparison.single} / {comparison.sweep}, each at {counted(len(scale.betas), 'β value')}; "
        f"at all β values {' / '.join(f'{value:.3f}' for value in whole)}",
    )
