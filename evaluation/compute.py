"""What trials cost, and how many times cheaper one run is than a sweep.

A device-second is one second of one device: seconds × the device count of the cost row, or of a shared device × the
share of it that was measured. Device-seconds of different device kinds are different things: they are shown apart, and
added or divided only once they are converted by the speeds that a calibration measured on each kind, in what is marked
so.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from evaluation.records import Cost


COMPARED_PHASES = ("train", "evaluate")
"""What the comparison of methods counts: training, and measuring rate and distortion. Further metrics and pictures are
one's own choice. Set-up (data, compile) falls on whichever trial a worker process runs first, and checkpoints on how
often the user wants them; MLPerf leaves initialisation out too. All phases stand in the compute table."""

UNCALIBRATED: Mapping[str, float] = MappingProxyType({})
"""No speeds: nothing is converted."""


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
    finished. `flops` is None where none of the work was counted; `joules` is None where any of them are unknown.
    """

    phase: str
    device_kind: str
    useful: bool
    seconds: float
    device_seconds: float
    flops: float | None
    joules: float | None


@dataclass(frozen=True)
class Ratio:
    """A ratio, or None and the reason why there is none; `remark` says how times were converted, if they were."""

    value: float | None
    reason: str = ""
    remark: str = ""


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


def convert(pieces: Iterable[Spent], speeds: Mapping[str, float], to: str) -> tuple[Spent, ...]:
    """Return what was spent as times on the device kind `to`: a second of kind A is speed_A / speed_to seconds there.

    `speeds` are of one workload, in anything per device-second; another workload may have other ratios. FLOPs are the
    same wherever they are done. What joules they would have taken there nobody knows. What is of the kind `to` already
    stays as it is. Raises ValueError where a speed is lacking.
    """
    return tuple(piece if piece.device_kind == to else _converted(piece, speeds, to) for piece in pieces)


def times_cheaper(single: Sequence[Run], sweep: Sequence[Run], *, speeds: Mapping[str, float] = UNCALIBRATED) -> Ratio:
    """Return the useful device-seconds of `sweep` over those of `single`, in the compared phases.

    For the two sides of one seed: the β-VAEs of the sweep and the MR-VAE run that may replace them. Where they ran on
    several kinds of device, times are converted by the `speeds` of all of them, or there is no ratio.
    """
    reason = _unfinished("the single run", single) or _unfinished("the sweep", sweep)
    if reason:
        return Ratio(None, reason)
    return _ratio(_compared(sweep), _compared(single), speeds)


def times_cheaper_with_choice(
    single: Sequence[Run],
    sweep: Sequence[Run],
    single_tried: Sequence[Run],
    sweep_tried: Sequence[Run],
    *,
    speeds: Mapping[str, float] = UNCALIBRATED,
) -> Ratio:
    """Return the ratio of `times_cheaper` where each side also pays for the trials that chose its learning rate.

    The two sides are those of all seeds, since a choice is made once for all. Of what was tried everything counts,
    a rate that failed too: it had to be tried to be known.
    """
    reason = _unfinished("the single run", single) or _unfinished("the sweep", sweep)
    if reason:
        return Ratio(None, reason)
    numerator, denominator = (
        _compared(runs) + _compared(tried, lost=True) for runs, tried in ((sweep, sweep_tried), (single, single_tried))
    )
    return _ratio(numerator, denominator, speeds)


def _compared(runs: Sequence[Run], *, lost: bool = False) -> list[Spent]:
    """Return what was spent in the compared phases to some use, or whatever came of it."""
    pieces = (piece for run in runs for piece in spent(run))
    return [piece for piece in pieces if piece.phase in COMPARED_PHASES and (piece.useful or lost)]


def _ratio(numerator: Sequence[Spent], denominator: Sequence[Spent], speeds: Mapping[str, float]) -> Ratio:
    kinds = sorted({piece.device_kind for piece in (*numerator, *denominator)})
    if len(kinds) < 2:  # noqa: PLR2004 (one kind, or nothing)
        return _quotient(numerator, denominator)
    lacking = [kind for kind in kinds if kind not in speeds]
    if lacking:
        return Ratio(
            None,
            f"they ran on different kinds of device ({' and '.join(kinds)}), and converting their times takes "
            f"“mrvae-orch doctor --calibrate” with this store on {' and '.join(lacking)}",
        )
    # Any kind gives the same ratio; to the slowest, the factors that the remark states are above 1.
    to = min(kinds, key=speeds.__getitem__)
    converted = _quotient(convert(numerator, speeds, to), convert(denominator, speeds, to))
    return converted if converted.value is None else replace(converted, remark=_remark(kinds, speeds, to))


def _quotient(numerator: Sequence[Spent], denominator: Sequence[Spent]) -> Ratio:
    above, below = (sum(piece.device_seconds for piece in side) for side in (numerator, denominator))
    return Ratio(above / below) if above > 0 and below > 0 else Ratio(None, "no device time is recorded")


def _remark(kinds: Sequence[str], speeds: Mapping[str, float], to: str) -> str:
    factors = " and ".join(f"1 s on {kind} as {speeds[kind] / speeds[to]:,.2f} s" for kind in kinds if kind != to)
    return f"converted by calibration: {factors} on {to}"


def _converted(piece: Spent, speeds: Mapping[str, float], to: str) -> Spent:
    lacking = [kind for kind in (piece.device_kind, to) if kind not in speeds]
    if lacking:
        raise ValueError(f"no speed is known of {' and '.join(lacking)}; run “mrvae-orch doctor --calibrate” there")
    factor = speeds[piece.device_kind] / speeds[to]
    return replace(
        piece,
        device_kind=to,
        seconds=piece.seconds * factor,
        device_seconds=piece.device_seconds * factor,
        joules=None,
    )


def _unfinished(name: str, runs: Sequence[Run]) -> str:
    if not runs:
        return f"{name} has no trial"
    count = sum(not run.finished for run in runs)
    return f"{count} of {len(runs)} trials of {name} {'is' if count == 1 else 'are'} not finished" if count else ""


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
    seconds, device_seconds = share * cost.seconds, share * cost.device_seconds
    flops, joules = (None if whole is None else share * whole for whole in (cost.flops, cost.joules))
    return Spent(cost.phase, cost.device_kind, useful, seconds, device_seconds, flops, joules)


def _add(one: Spent, other: Spent) -> Spent:
    counted = [piece.flops for piece in (one, other) if piece.flops is not None]
    return replace(
        one,
        seconds=one.seconds + other.seconds,
        device_seconds=one.device_seconds + other.device_seconds,
        flops=sum(counted) if counted else None,
        joules=None if one.joules is None or other.joules is None else one.joules + other.joules,
    )
