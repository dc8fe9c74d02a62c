"""What every number of a report means, in the order a reader meets them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evaluation.report.wording import counted, listed, significant

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evaluation.records import Point
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


CHOICE = (
    "Both sides also pay for every trial that chose their learning rate and is not one of their own, failed ones too, "
    "once for all seeds."
)


def _has_choice(summary: ReportSummary) -> bool:
    return summary.comparison is not None and summary.comparison.times_cheaper_with_choice is not None


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
        ("Device time", "Seconds × devices, all phases. Times of different device kinds are never added."),
        (
            "Times cheaper",
            "Device time of training and evaluation of the sweep’s trials over that of the one run of the same seed. "
            "Loading, set-up and checkpoints are in the table only: a worker process pays set-up once, so they "
            "would be charged to whichever trial came first.",
        ),
        *((("With the choice of learning rates", CHOICE),) if _has_choice(summary) else ()),
        ("Lost", LOST),
        ("Mean distortion", _mean_distortion(summary)),
        ("Hypervolume", _hypervolume(summary)),
        ("Active units", _active_units(points)),
        ("FLOPs", FLOPS),
        ("Ranges", "“a to b over n seeds” are the least and the largest seed, not a confidence interval."),
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


def _active_units(points: Sequence[Point]) -> str:
    deltas = sorted({point.active_units_delta for point in points if point.active_units_delta is not None})
    threshold = listed([f"{delta:g}" for delta in deltas]) if deltas else "δ"
    return f"Latent units whose posterior mean varies over the data with a variance above {threshold}."
