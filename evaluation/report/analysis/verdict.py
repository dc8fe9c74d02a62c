"""Whether one MR-VAE run replaces the sweep of β-VAEs, by three conditions."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from evaluation.report.formatting import listed, percent
from evaluation.statistics import TEST_LEVEL, mean_estimate, ratio_estimate

if TYPE_CHECKING:
    from evaluation.report.analysis.comparison import Comparison
    from evaluation.statistics import Outcome

TOLERANCE = 0.03
"""The distortion above the sweep's that counts as none, as a share of it: the tolerance of the published references."""
LEAST_REACHED = 0.9
"""The least share of the sweep's rates that a run reaches if it replaces the sweep."""

Answer = Literal["yes", "no", "undecided"]


@dataclass(frozen=True)
class Verdict:
    """The answer, and the outcome of each condition: distortion, rates and cost."""

    answer: Answer
    distortion: Outcome
    rates: Outcome
    cost: Outcome

    @property
    def rule(self) -> str:
        """The conditions, and which of them were not met or not decided."""
        outcomes = {"distortion": self.distortion, "rates": self.rates, "cost": self.cost}
        parts = [
            f"{what}: {listed(names)}"
            for what, outcome in (("Not met", "failed"), ("Not decided", "undecided"))
            if (names := [name for name, found in outcomes.items() if found == outcome])
        ]
        return " ".join([f"{RULE}.", *(f"{part}." for part in parts)])


RULE = (
    f"Yes means: at equal rates a distortion at most {percent(TOLERANCE)} above the sweep’s, at least "
    f"{percent(LEAST_REACHED)} of its rates, and a lower cost; distortion and cost by one-sided t-tests at 5 %"
)


def verdict(comparison: Comparison) -> Verdict:
    """Return whether one run replaces the sweep: yes if all conditions are met, no if one of them fails.

    Distortion and cost are decided by the interval of the two one-sided tests that `mrvae-orch check` uses, here of
    differences paired by seed and only towards the worse: less distortion than the sweep's is not a fault.
    """
    found = _distortion(comparison), _rates(comparison), _cost(comparison)
    answer: Answer = "no" if "failed" in found else "yes" if set(found) == {"passed"} else "undecided"
    return Verdict(answer, *found)


def _distortion(comparison: Comparison) -> Outcome:
    found = comparison.equal_rates
    if not found.sweep:
        return "undecided"
    return mean_estimate(found.distortion.values, level=TEST_LEVEL).at_most(
        TOLERANCE * abs(statistics.fmean(found.sweep))
    )


def _rates(comparison: Comparison) -> Outcome:
    reached = comparison.equal_rates.reached
    if not reached:
        return "undecided"
    return "passed" if statistics.fmean(reached) >= LEAST_REACHED else "failed"


def _cost(comparison: Comparison) -> Outcome:
    if not comparison.cost.ratio.values:
        return "undecided"
    inverse = ratio_estimate([1 / ratio for ratio in comparison.cost.ratio.values], level=TEST_LEVEL)
    return inverse.at_most(1.0)
