"""Whether one MR-VAE run replaces the sweep of β-VAEs, by three conditions."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from evaluation.report.formatting import listed, percent
from evaluation.statistics import TEST_LEVEL, mean_estimate, ratio_estimate

if TYPE_CHECKING:
    from evaluation.report.analysis.comparison import Comparison
    from evaluation.report.analysis.equal_rates import EqualRates
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
    f"{percent(LEAST_REACHED)} of the sweep’s rates, and a lower cost; distortion and cost by one-sided t-tests at 5 %"
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
    tolerance = TOLERANCE * abs(statistics.fmean(found.sweep))
    return _of_whole_sweep(found, mean_estimate(found.distortion.values, level=TEST_LEVEL).at_most(tolerance))


def _rates(comparison: Comparison) -> Outcome:
    found = comparison.equal_rates
    if not found.reached:
        return "undecided"
    return _of_whole_sweep(found, "passed" if statistics.fmean(found.reached) >= LEAST_REACHED else "failed")


def _of_whole_sweep(found: EqualRates, outcome: Outcome) -> Outcome:
    """Return the outcome; if β-VAEs have no finite point, a run that equals the others has not replaced these."""
    return "undecided" if found.without_point and outcome == "passed" else outcome


def _cost(comparison: Comparison) -> Outcome:
    if not comparison.cost.ratio.values:
        return "undecided"
    ratio = ratio_estimate(comparison.cost.ratio.values, level=TEST_LEVEL)
    if ratio.low is None or ratio.high is None:
        return "undecided"
    # Equal costs are no lower ones.
    return "passed" if ratio.low > 1 else "failed" if ratio.high <= 1 else "undecided"
