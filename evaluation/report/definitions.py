"""What every number of a report means, in the order a reader meets them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evaluation.curves import COLLAPSED_RATE_NATS
from evaluation.report.metrics import measured_metrics
from evaluation.report.wording import counted, listed, significant

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evaluation.records import Point
    from evaluation.report.comparison import Comparison
    from evaluation.report.summary import ReportSummary

UNITS = {
    "nats": "Distortion is −log p(x|z) of a Bernoulli likelihood, in nats per example.",
    "sse": (
        "Distortion is the summed squared error per example, and β is on that scale: the loss is "
        "‖x − x̂‖² + β · rate, so β = 1 is a Gaussian of variance ½ and not a β of mean squared error."
    ),
}

LOST = (
    "Device time of attempts that failed, were killed or were interrupted, and of trials that are not done. "
    "Training that a later attempt took over from a checkpoint is not lost: it counts with the result, by "
    "its images."
)
FLOPS = (
    "A multiply-add counts two, forward and backward; elementwise work, such as the gates, counts none, so "
    "compare seconds too."
)


DEVICE_TIME = (
    "Seconds × devices, all phases. Where a part of a GPU is held, seconds × the share of the GPU’s work that was the "
    "trial’s, sampled about once a second; or × the share held, where nothing tells (the notes say which). Times of "
    "different device kinds are never added; a ratio of such is given only where both kinds were calibrated, and says "
    "how times were converted."
)
FRONTIER = (
    "The best quality that each amount of training buys, seed by seed. Quality is the hypervolume. Of a sweep it is "
    "that of the best subset of its β-VAEs that could be trained so far: which one is known only once all are "
    "trained, so this flatters the sweep. Of an MR-VAE it is that of its best measurement so far, at the β of the "
    "sweep alone, so that both have as many points. Early measurements are of a schedule made for the whole run, so "
    "they are worse than a run planned for that budget would be. Only training time counts, of what became the result."
)
EQUAL_QUALITY = (
    "The training of the sweep’s cheapest subset that reaches a quality over that of the MR-VAE’s first measurement "
    "that does: above 1, the MR-VAE takes less. The quality is the sweep’s best; where the MR-VAE does not reach that "
    "in every seed it is the largest whole percentage of it that it does reach, which is stated. Over the seeds it is "
    "the geometric mean."
)
EQUAL_COMPUTE = (
    "The hypervolume of the whole MR-VAE run less that of the best subset of the sweep that took no more training. "
    "Above 0, the MR-VAE is better."
)
PROBABILITY = (
    "The probability of improvement: how often an MR-VAE of one seed has a lower mean distortion than a sweep of any "
    "seed, equal ones counting half (Agarwal et al. 2021)."
)
BD_DISTORTION = (
    "Bjøntegaard difference: how much more distortion the MR-VAE’s curve has at equal rate, as the mean over the "
    "logarithms of the rates that both curves span. Below 0, the MR-VAE is better. It takes four points on each Pareto "
    "front; points of collapsed models (rates below {rate:g} nats) are left out. The percentage below it is how much "
    "of all rates both span, on that scale: the less, the less it says."
)
BD_RATE = "How much more rate the MR-VAE’s curve takes for equal distortion, likewise. Below 0, the MR-VAE is better."

CHOICE = (
    "Both sides also pay for every trial that chose their learning rate and is not one of their own, failed ones too, "
    "once for all seeds."
)


def _has_choice(summary: ReportSummary) -> bool:
    return summary.comparison is not None and summary.comparison.times_cheaper_with_choice is not None


ENERGY = (
    "What the boards held have used, idle power included; unknown on a CPU and on a shared GPU. The counter moves "
    "every 20 to 100 ms, so that short phases are rough."
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
        ("Distortion", UNITS.get(summary.scale.unit or "", "What the reconstruction lacks, per example.")),
        (
            "β",
            "The weight on rate in the loss. A β-VAE is trained at one, an MR-VAE at all of a range at once.",
        ),
        ("ELBO", "−(distortion + rate): the evidence lower bound at β = 1."),
        ("Mean distortion", _mean_distortion(summary)),
        ("Hypervolume", _hypervolume(summary)),
        *_of_comparison(summary),
        ("Device time", DEVICE_TIME),
        ("Lost", LOST),
        ("FLOPs", FLOPS),
        *((("Energy", ENERGY),) if _has_energy(summary) else ()),
        *((metric.label, metric.definition(points)) for metric in measured_metrics(points)),
        (
            "Ranges",
            "“a to b” below a mean of the table of methods, and bands of curves, are the least and the largest "
            "seed, not a confidence interval.",
        ),
    )


def _of_comparison(summary: ReportSummary) -> list[tuple[str, str]]:
    if summary.comparison is None:
        return []
    return [
        ("Compute frontier", FRONTIER),
        ("Training, equal quality", EQUAL_QUALITY),
        ("Quality, equal training", EQUAL_COMPUTE),
        (
            "Times cheaper",
            "Device time of training and evaluation of the sweep’s trials over that of the one run of the same seed. "
            "Loading, set-up and checkpoints are in the table only: a worker process pays set-up once, so they "
            "would be charged to whichever trial came first.",
        ),
        *((("With the choice of learning rates", CHOICE),) if _has_choice(summary) else ()),
        ("P(lower)", PROBABILITY),
        ("BD-distortion", BD_DISTORTION.format(rate=COLLAPSED_RATE_NATS)),
        ("BD-rate", BD_RATE),
        ("Intervals", _intervals(summary.comparison)),
    ]


def _intervals(comparison: Comparison) -> str:
    methods = {found.estimate.method for found in (comparison.times_cheaper, comparison.distortion)} - {""}
    if not methods:
        return "None: the methods are paired by seed and whole curves are resampled, which takes two seeds or more."
    return (
        f"{'; '.join(sorted(methods))}. Methods are paired by seed, and whole curves are resampled, not points. Of few "
        "seeds they hold the truth less often than their level says: the range of three seeds holds the median of what "
        "they are drawn from in 3 of 4 cases."
    )


def _mean_distortion(summary: ReportSummary) -> str:
    text = (
        "The mean over the rates that all complete curves span of the monotone cubic interpolation (PCHIP) "
        "of each curve’s lower envelope: the least distortion at no more than each rate. Lower is better. A "
        "curve of few points is interpolated over wide gaps, which raises its mean; “at the sweep’s β alone” "
        "takes only the points of the MR-VAE that are nearest the β of the sweep, so that both have the same gaps."
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
        f"{text}. Larger is better. More points give a larger share for that alone, so it is also given “at "
        f"the same β”: the points nearest the {len(summary.scale.betas)} β of the curve with the fewest."
    )
