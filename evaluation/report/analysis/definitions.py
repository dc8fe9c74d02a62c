"""Definitions of the numbers of a report, in the order in which it shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evaluation import compute
from evaluation.curves import COLLAPSED_RATE_NATS
from evaluation.report.content.metrics import metric_definitions
from evaluation.report.formatting import counted, difference, listed, significant

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evaluation.records import Point
    from evaluation.report.analysis.comparison import Comparison
    from evaluation.report.analysis.summary import ReportSummary

UNITS = {
    "nats": (
        "Distortion is −log p(x|z) of a Bernoulli likelihood, in nats per example, exact from logits: the code of the "
        "MR-VAE paper limits it to 100 nats a pixel."
    ),
    "sse": (
        "Distortion is the summed squared error per example, and β is on that scale: the loss is "
        "‖x − x̂‖² + β · rate, so β = 1 is a Gaussian of variance ½ and not a β of mean squared error."
    ),
}

LOST = (
    "Device time of attempts that failed, were killed or were interrupted, and of trials that are not done. "
    "Training that a later attempt resumed from a checkpoint is not lost: it counts with the result, in proportion to "
    "its images."
)
FLOPS = (
    "A multiply-add counts as two operations, in the forward and the backward pass. Elementwise work, such as the "
    "gates, is not counted, so compare seconds too."
)

DEVICE_TIME = (
    "Seconds × devices, in all phases. For a trial on a part of a GPU: seconds × the trial’s share of the GPU’s work, "
    "sampled about once a second, or seconds × the reserved share if the work was not measured (the notes say which). "
    "Times of different device kinds are never added. A ratio of them is given only if both kinds were calibrated, and "
    "says how times were converted."
)
FRONTIER = (
    "The best quality for each training time, for each seed. Quality is the hypervolume. For a sweep it is that of the "
    "best subset of its β-VAEs that can be trained in this time. Which subset is best is known only after all are "
    "trained, so this favours the sweep. For an MR-VAE it is that of its best measurement so far, only at the β values "
    "of the sweep, so that both have the same number of points. Early measurements come from a schedule made for the "
    "whole run, so they are worse than a run planned for that budget. Only the training of the final result counts."
)
EQUAL_QUALITY = (
    "The training time of the sweep’s cheapest subset that reaches a quality, over that of the MR-VAE at its first "
    "measurement that reaches it. Above 1, the MR-VAE takes less. The quality is, for each seed, the lower of the "
    "best that each reaches. Over the seeds: the geometric mean."
)
EQUAL_COMPUTE = (
    "The hypervolume of the whole MR-VAE run minus that of the best subset of the sweep with no more training time. "
    "Above 0, the MR-VAE is better."
)
EQUAL_RATES = (
    "For each seed, the MR-VAE’s mean distortion minus the sweep’s, over the rates that both curves span; below 0, "
    "the MR-VAE is better. Both curves have the sweep’s β values, so that they are interpolated over the same gaps; "
    "at smaller and larger β the MR-VAE has its other points. The share of the sweep’s rates that this covers is "
    "given with it. {straight}"
)
CLOCKS = {
    compute.CPU_TIME: (
        "CPU time: the seconds that the cores worked for a trial, over all threads. Other programs on the "
        "machine change it little, and can change elapsed time a lot."
    ),
    compute.DEVICE_TIME: "Device time: seconds × devices, since not all trials have a CPU time.",
}
BD_DISTORTION = (
    "Bjøntegaard difference: the MR-VAE’s distortion minus the sweep’s at equal rate, as the mean over the logarithms "
    "of the rates that both curves span. Below 0, the MR-VAE is better. It requires four points on each Pareto front. "
    "Points of collapsed models (rates below {rate:g} nats) are left out. The percentage below it is the share of all "
    "rates, on the logarithmic scale, that both curves span: a small share says little about the whole curves."
)
BD_RATE = (
    "The change of the MR-VAE’s rate from the sweep’s at equal distortion, in percent, computed in the same way. Below "
    "0, the MR-VAE is better."
)

CHOICE = (
    "Both sides include the trials that only served to choose their learning rates, failed ones too, once for all "
    "seeds."
)


def _has_choice(summary: ReportSummary) -> bool:
    return summary.comparison is not None and summary.comparison.cost.with_choice is not None


ENERGY = (
    "The energy used by the whole GPUs, idle power included; unknown on a CPU and on a shared GPU. The counter is "
    "updated every 20 to 100 ms, so the energy of short phases is imprecise."
)


def _has_energy(summary: ReportSummary) -> bool:
    return any(piece.joules is not None for one in summary.series for piece in one.spent)


def measured_on(points: Sequence[Point]) -> str:
    """Return what the points were measured on, as one sentence; empty where there is no point."""
    if not points:
        return ""
    splits = listed(sorted({f"the {point.split} split" for point in points}))
    examples = listed(sorted({f"{point.examples:,}" for point in points}))
    samples = listed(sorted({counted(point.posterior_samples, "posterior sample") for point in points}))
    units = " ".join(UNITS.get(unit, "") for unit in sorted({point.distortion_unit for point in points}))
    return f"Measured on {splits} ({examples} examples, {samples} each). {units}".strip()


def definitions(summary: ReportSummary, points: Sequence[Point]) -> tuple[tuple[str, str], ...]:
    """Return (term, meaning) pairs for the numbers of this report."""
    return (
        ("Rate", "KL(q(z|x) ‖ p(z)) in nats per example: how much the latents say about the example."),
        ("Distortion", UNITS.get(summary.scale.unit or "", "The reconstruction error, per example.")),
        ("β", "The weight on rate in the loss. A β-VAE is trained at one value, an MR-VAE on a whole range of values."),
        ("ELBO", "−(distortion + rate): the evidence lower bound at β = 1."),
        ("Mean distortion", _mean_distortion(summary)),
        ("Hypervolume", _hypervolume(summary)),
        *_of_comparison(summary),
        ("Device time", DEVICE_TIME),
        ("Lost", LOST),
        ("FLOPs", FLOPS),
        *((("Energy", ENERGY),) if _has_energy(summary) else ()),
        *metric_definitions(points),
        (
            "Ranges",
            "“a to b” below a mean in the table of methods, and the bands of curves, span the smallest to the largest "
            "seed. They are not confidence intervals.",
        ),
    )


def _of_comparison(summary: ReportSummary) -> list[tuple[str, str]]:
    comparison = summary.comparison
    if comparison is None:
        return []
    return [
        ("Yes, no, undecided", summary.rule),
        (
            "Times cheaper",
            "The time of training and evaluation of the sweep’s trials over that of the one run of the same seed. "
            f"{CLOCKS[comparison.cost.clock]} Loading, set-up and checkpoints are in the table only: a worker process "
            "does the set-up once, so it would be charged to the first trial.",
        ),
        *((("With the choice of learning rates", CHOICE),) if _has_choice(summary) else ()),
        ("Distortion, equal rates", EQUAL_RATES.format(straight=_straight(comparison))),
        ("BD-distortion", BD_DISTORTION.format(rate=COLLAPSED_RATE_NATS)),
        ("BD-rate", BD_RATE),
        ("Compute frontier", FRONTIER),
        ("Training, equal quality", EQUAL_QUALITY),
        ("Quality, equal training", EQUAL_COMPUTE),
        ("Intervals", _intervals(comparison)),
    ]


def _straight(comparison: Comparison) -> str:
    found = comparison.equal_rates
    if found.straight is None or found.distortion.estimate.value is None:
        return ""
    straight, cubic = (difference(value) for value in (found.straight, found.distortion.estimate.value))
    return f"With straight lines between the points in place of the monotone cubic it would be {straight}, not {cubic}."


def _intervals(comparison: Comparison) -> str:
    methods = {found.estimate.method for found in (comparison.times_cheaper, comparison.distortion)} - {""}
    if not methods:
        return "None: they need two or more seeds."
    return (
        f"{'; '.join(sorted(methods))}, of differences that are paired by seed, and of the logarithms of ratios. They "
        "assume that these are independent and nearly normal. Hypervolumes have none: their reference point depends "
        "on all seeds."
    )


def _mean_distortion(summary: ReportSummary) -> str:
    text = (
        "The mean of a curve over the rates that all complete curves span. The lower envelope of the curve (the least "
        "distortion at no more than each rate) is interpolated by a monotone cubic (PCHIP), as in the figures. Lower "
        "is better. A curve of few points is interpolated over wide gaps, which raises its mean; “distortion, equal "
        "rates” compares two methods over the same gaps."
    )
    if summary.scale.rates is None:
        return text
    low, high = (significant(rate, 4) for rate in summary.scale.rates)
    return f"{text} Here the rates are {low} to {high} nats."


def _hypervolume(summary: ReportSummary) -> str:
    text = "The share of the rectangle from (0, 0) to a reference point that a curve’s points dominate"
    if summary.scale.reference is not None:
        rate, distortion = summary.scale.reference
        text += f", here rate {rate:g} and distortion {distortion:g}"
    return (
        f"{text}. Larger is better. More points alone make the share larger, so it is also given “at the same β”: at "
        f"the points nearest the {counted(len(summary.scale.betas), 'β value')} of the curve with the fewest points."
    )
