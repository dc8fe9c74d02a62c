"""What trials cost, and how many times cheaper one run is than a sweep.

A device-second is one second of one device: seconds × the device count of the cost row. Device-seconds of
different device kinds are different things; nothing here adds or divides them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from evaluation.records import Cost


COMPARED_PHASES = ("train", "evaluate")
"""What the comparison of methods counts: work that grows with what is trained and measured. Set-up (data, compile)
falls on whichever trial a worker process runs first, and checkpoints on how often the user wants them; MLPerf leaves
initialisation out too. All phases stand in the compute table."""


@dataclass(frozen=True)
class Run:
    """One trial's cost rows of all attempts, and what tells its useful work from the rest.

    `images` is the number of training images its whole history holds, over all attempts; None where the
    history is not known.
    """

    trial_id: str
    finished: bool
    costs: tuple[Cost, ...]
    images: int | None = None


@dataclass(frozen=True)
class Spent:
    """What was spent in one phase on one device kind.

    `useful` is what the finished result needed. The rest went to attempts that failed, were killed or were
    interrupted, without the training that a later attempt took over from them, and to trials that are not
    finished. `flops` is None where none of the work was counted.
    """

    phase: str
    device_kind: str
    useful: bool
    seconds: float
    device_seconds: float
    flops: float | None


@dataclass(frozen=True)
class Ratio:
    """A ratio, or None and the reason why there is none."""

    value: float | None
    reason: str = ""


def spent(run: Run) -> tuple[Spent, ...]:
    """Return what one trial spent, by phase, device kind and usefulness.

    A resumed attempt goes on from a checkpoint of an earlier one, so a share of the earlier attempts'
    training is part of the result: the images that the last attempt did not train on itself. Everything else
    in attempts that did not end well was for nothing.
    """
    share = _share_taken_over(run)
    pieces: list[Spent] = []
    for cost in run.costs:
        useful = _useful_share(run, cost, share)
        pieces += [_part(cost, useful, useful=True), _part(cost, 1 - useful, useful=False)]
    return total(piece for piece in pieces if piece.seconds > 0 or piece.flops)


def total(pieces: Iterable[Spent]) -> tuple[Spent, ...]:
    """Add what was spent in the same phase, on the same device kind and to the same use."""
    sums: dict[tuple[str, str, bool], Spent] = {}
    for piece in pieces:
        key = (piece.phase, piece.device_kind, piece.useful)
        sums[key] = _add(sums[key], piece) if key in sums else piece
    return tuple(sums.values())


def device_seconds(pieces: Iterable[Spent], *, useful: bool) -> dict[str, float]:
    """Return the device-seconds of all phases, for each device kind apart."""
    seconds: dict[str, float] = {}
    for piece in pieces:
        if piece.useful == useful:
            seconds[piece.device_kind] = seconds.get(piece.device_kind, 0.0) + piece.device_seconds
    return seconds


def times_cheaper(single: Sequence[Run], sweep: Sequence[Run]) -> Ratio:
    """Return the useful device-seconds of `sweep` over those of `single`, in the compared phases.

    For the two sides of one seed: the β-VAEs of the sweep and the MR-VAE run that may replace them.
    """
    reason = _unfinished("the single run", single) or _unfinished("the sweep", sweep)
    if reason:
        return Ratio(None, reason)
    return _ratio(*(_device_seconds_of(runs) for runs in (sweep, single)))


def times_cheaper_with_choice(
    single: Sequence[Run], sweep: Sequence[Run], single_tried: Sequence[Run], sweep_tried: Sequence[Run]
) -> Ratio:
    """Return the ratio of `times_cheaper` where each side also pays for the trials that chose its learning rate.

    The two sides are those of all seeds, since a choice is made once for all. Of what was tried everything counts,
    a rate that failed too: it had to be tried to be known.
    """
    reason = _unfinished("the single run", single) or _unfinished("the sweep", sweep)
    if reason:
        return Ratio(None, reason)
    sides = [_device_seconds_of(runs) for runs in (sweep, single)]
    for side, tried in zip(sides, (sweep_tried, single_tried), strict=True):
        for useful in (True, False):
            pieces = [piece for run in tried for piece in spent(run) if piece.phase in COMPARED_PHASES]
            for kind, seconds in device_seconds(pieces, useful=useful).items():
                side[kind] = side.get(kind, 0.0) + seconds
    return _ratio(*sides)


def _ratio(numerator: Mapping[str, float], denominator: Mapping[str, float]) -> Ratio:
    kinds = sorted({*numerator, *denominator})
    if len(kinds) > 1:
        return Ratio(None, f"they ran on different kinds of device ({' and '.join(kinds)})")
    if not all(sum(seconds.values()) > 0 for seconds in (numerator, denominator)):
        return Ratio(None, "no device time is recorded")
    return Ratio(sum(numerator.values()) / sum(denominator.values()))


def _unfinished(name: str, runs: Sequence[Run]) -> str:
    if not runs:
        return f"{name} has no trial"
    count = sum(not run.finished for run in runs)
    return f"{count} of {len(runs)} trials of {name} {'is' if count == 1 else 'are'} not finished" if count else ""


def _device_seconds_of(runs: Sequence[Run]) -> dict[str, float]:
    pieces = (piece for run in runs for piece in spent(run))
    return device_seconds((piece for piece in pieces if piece.phase in COMPARED_PHASES), useful=True)


def _useful_share(run: Run, cost: Cost, share_taken_over: float) -> float:
    if not run.finished:
        return 0.0
    if cost.outcome == "done":
        return 1.0
    return share_taken_over if cost.phase == "train" else 0.0


def _share_taken_over(run: Run) -> float:
    """Return which share of earlier attempts' training the finished trial is made of, in images."""
    done = sum(cost.images for cost in run.costs if cost.phase == "train" and cost.outcome == "done")
    others = sum(cost.images for cost in run.costs if cost.phase == "train" and cost.outcome != "done")
    if others == 0:
        return 0.0
    # Without the history nothing tells what was taken over; counting all of it never flatters a method.
    needed = done + others if run.images is None else run.images
    return min(max(needed - done, 0) / others, 1.0)


def _part(cost: Cost, share: float, *, useful: bool) -> Spent:
    seconds = share * cost.seconds
    flops = None if cost.flops is None else share * cost.flops
    return Spent(cost.phase, cost.device_kind, useful, seconds, seconds * cost.device_count, flops)


def _add(one: Spent, other: Spent) -> Spent:
    counted = [piece.flops for piece in (one, other) if piece.flops is not None]
    return replace(
        one,
        seconds=one.seconds + other.seconds,
        device_seconds=one.device_seconds + other.device_seconds,
        flops=sum(counted) if counted else None,
    )
