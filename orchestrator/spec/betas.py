"""β values in a spec: a list, or a range on a log scale."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import (
    Discriminator,
    Field,
    Tag,
    model_validator,
)

from orchestrator.spec.section import Distinct, Section, problem, refusal

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST_GRID_POINTS = 10_000
SHORT_DIGITS = 6

Beta = Annotated[float, Field(gt=0, description="The weight of the rate, above 0.")]


class BetaGrid(Section):
    """β values evenly spaced on a log scale, both ends included, rounded to six significant digits."""

    start: Annotated[Beta, Field(alias="from", description="The smallest β.")]
    stop: Annotated[Beta, Field(alias="to", description="The largest β.")]
    count: Annotated[int, Field(ge=2, le=MOST_GRID_POINTS, description="Number of β values, both ends included.")]

    @model_validator(mode="after")
    def _check_range(self) -> BetaGrid:
        if self.start >= self.stop:
            message = f"the range is {self.start:g} to {self.stop:g}; the first value must be the smaller one"
            raise refusal([problem(("from",), message)])
        if len(set(self.values())) < self.count:
            raise refusal(
                [problem(("count",), f"{self.count} values are too many for this range: rounded, some are equal")]
            )
        return self

    def values(self) -> tuple[float, ...]:
        """Return the β values, smallest first."""
        return log_spaced(self.start, self.stop, self.count)


def log_spaced(start: float, stop: float, count: int) -> tuple[float, ...]:
    """Return `count` (2 or more) β values evenly spaced on a log scale between two ends, which are kept exactly.

    The values between are rounded to six digits. So a printed value is the exact one, a list of printed values shares
    the trials, and the last bits of another machine's arithmetic do not make other trials.
    """
    fractions = (step / (count - 1) for step in range(1, count - 1))
    between = (start ** (1 - fraction) * stop**fraction for fraction in fractions)
    return (start, *(float(f"{beta:.{SHORT_DIGITS}g}") for beta in between), stop)


def _form_of_betas(content: Any) -> str:
    return "BetaGrid" if isinstance(content, (dict, BetaGrid)) else "array"


BetaList = Annotated[tuple[Beta, ...], Field(min_length=1, description="A list of β values."), Distinct]
Betas = Annotated[
    Annotated[BetaList, Tag("array")] | Annotated[BetaGrid, Tag("BetaGrid")],
    Discriminator(_form_of_betas),
]
"""A list of β values or a range."""


def beta_values(betas: Sequence[float] | BetaGrid) -> tuple[float, ...]:
    """Return the β values of a list or a range."""
    return betas.values() if isinstance(betas, BetaGrid) else tuple(betas)
