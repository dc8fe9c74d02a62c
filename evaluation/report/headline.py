"""The first sentence of a report, and its tiles: compute and quality, never one without the other."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

from evaluation.report.series import mean_over_seeds
from evaluation.report.wording import between, difference, significant, times

if TYPE_CHECKING:
    from evaluation.report.comparison import Comparison
    from evaluation.report.series import Scale, Series


@dataclass(frozen=True)
class Tile:
    """One large number and what it means; `value` is a dash where there is none and `text` says why."""

    value: str
    text: str


def headline(comparison: Comparison, scale: Scale) -> str:
    """Return the sentence on what one run costs against the sweep, and what that does to distortion."""
    single = f"One {comparison.single} run"
    if comparison.compute_reason and comparison.distortion_reason:
        return (
            f"{single} and {_sweep(comparison)} cannot be compared: {comparison.compute_reason}; "
            f"{comparison.distortion_reason}."
        )
    if comparison.compute_reason:
        return (
            f"The compute of {single[0].lower()}{single[1:]} and {_sweep(comparison)} cannot be compared: "
            f"{comparison.compute_reason}; the mean distortion of the one run is "
            f"{_quality(comparison, scale)}{_one_seed(comparison)}."
        )
    costs = f"{single} costs {_compute(comparison)} {_sweep(comparison)}"
    if comparison.distortion_reason:
        reason = f"their distortion cannot be compared: {comparison.distortion_reason}"
        return f"{costs}{_one_seed(comparison)}; {reason}."
    return f"{costs} and its mean distortion is {_quality(comparison, scale)}{_one_seed(comparison)}."


def tiles(comparison: Comparison, series: tuple[Series, ...], scale: Scale) -> tuple[Tile, ...]:
    """Return the four figures below the headline."""
    return (
        _compute_tile(comparison),
        _distortion_tile(comparison, scale),
        _overhead_tile(comparison),
        _hypervolume_tile(comparison, series, scale),
    )


def _sweep(comparison: Comparison) -> str:
    chosen = f" ({comparison.sweep}, the best of {comparison.sweeps} series)" if comparison.sweeps > 1 else ""
    if comparison.models == (1,):
        return f"one β-VAE{chosen}"
    models = between(comparison.models, 1) if len(comparison.models) > 1 else str(comparison.models[0])
    return f"the sweep of {models} β-VAEs{chosen}"


def _compute(comparison: Comparison) -> str:
    ratios = comparison.times_cheaper
    middle = statistics.geometric_mean(ratios)
    if times(max(middle, 1 / middle)) == "1.0":
        return f"as much{_over_seeds([times(ratio) + '×' for ratio in sorted(ratios)])} as"
    if middle > 1:
        return f"{times(middle)} times less{_over_seeds([times(ratio) for ratio in sorted(ratios)])} than"
    inverse = sorted(1 / ratio for ratio in ratios)
    return f"{times(1 / middle)} times more{_over_seeds([times(ratio) for ratio in inverse])} than"


def _quality(comparison: Comparison, scale: Scale) -> str:
    differences = sorted(comparison.distortion_differences)
    middle = statistics.fmean(differences)
    size = difference(middle, sign=False)
    unit = " nats" if scale.unit == "nats" else ""
    if size == "0.00":
        size = f"the same within 0.01{unit}"
    else:
        size += f"{unit} {'higher' if middle > 0 else 'lower'}"
    if not unit:
        size += " in summed squared error"
    spread = _over_seeds([difference(value) for value in differences])
    return f"{size}{spread} over rates {between(scale.rates or ())}{_contradiction(comparison, middle)}"


def _contradiction(comparison: Comparison, middle: float) -> str:
    """Say so where the difference turns round once both curves are interpolated over the same gaps."""
    same = statistics.fmean(comparison.differences_same_betas or (middle,))
    if same * middle >= 0 or "0.00" in (difference(same), difference(middle)):
        return ""
    return f" but {difference(same, sign=False)} {'higher' if same > 0 else 'lower'} at the sweep’s β alone"


def _over_seeds(ordered: list[str]) -> str:
    if len(ordered) == 1:
        return ""
    spread = ordered[0] if ordered[0] == ordered[-1] else f"{ordered[0]} to {ordered[-1]}"
    return f" ({spread} over {len(ordered)} seeds)"


def _one_seed(comparison: Comparison) -> str:
    return " (one seed, no interval)" if len(comparison.seeds) == 1 else ""


def _seeds(ordered: list[str]) -> str:
    return _over_seeds(ordered).strip(" ()") or "one seed, no interval"


def _compute_tile(comparison: Comparison) -> Tile:
    if comparison.compute_reason:
        return Tile("–", f"compute: {comparison.compute_reason}")
    ratios = sorted(comparison.times_cheaper)
    middle = statistics.geometric_mean(ratios)
    text = "the sweep’s device time over the one run’s"
    if comparison.times_cheaper_with_choice is not None:
        text += f"; {times(comparison.times_cheaper_with_choice)}× with the choice of learning rates"
    return Tile(f"{times(middle)}×", f"{text}; {_seeds([times(ratio) for ratio in ratios])}")


def _distortion_tile(comparison: Comparison, scale: Scale) -> Tile:
    if comparison.distortion_reason or scale.rates is None:
        return Tile("–", f"mean distortion: {comparison.distortion_reason}")
    differences = sorted(comparison.distortion_differences)
    unit = " nats" if scale.unit == "nats" else ""
    kind = "mean distortion" if unit else "mean distortion (summed squared error)"
    text = f"{kind} at rates {between(scale.rates)}; {_seeds([difference(value) for value in differences])}"
    if comparison.differences_same_betas:
        text += f"; {difference(statistics.fmean(comparison.differences_same_betas))} at the sweep’s β alone"
    return Tile(f"{difference(statistics.fmean(differences))}{unit}", text)


def _overhead_tile(comparison: Comparison) -> Tile:
    if comparison.time_overhead is None:
        value, text = "–", f"training time per image: {comparison.compute_reason or 'not on record for both'}"
    else:
        value, text = _percent(comparison.time_overhead), "training time per image over a β-VAE’s"
    if comparison.parameter_overhead is not None:
        text += f"; {_percent(comparison.parameter_overhead)} parameters"
    return Tile(value, text)


def _percent(fraction: float) -> str:
    percent = 100 * fraction
    return ("−" if percent < 0 else "+") + f"{significant(abs(percent), 2)} %"


def _hypervolume_tile(comparison: Comparison, series: tuple[Series, ...], scale: Scale) -> Tile:
    single, sweep = (next(one for one in series if one.name == name) for name in (comparison.single, comparison.sweep))
    whole = [mean_over_seeds([seed.hypervolume for seed in one.seeds]) for one in (single, sweep)]
    equal = [mean_over_seeds([seed.hypervolume_same_betas for seed in one.seeds]) for one in (single, sweep)]
    if None in whole or None in equal or scale.reference is None:
        return Tile("–", f"hypervolume: {comparison.distortion_reason or 'not defined here'}")
    return Tile(
        " / ".join(f"{value:.3f}" for value in equal),
        f"hypervolume, {comparison.single} / {comparison.sweep}, each at {len(scale.betas)} β; "
        f"at all of their β {' / '.join(f'{value:.3f}' for value in whole)}",
    )
