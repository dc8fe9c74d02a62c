"""Device-seconds and FLOPs of trials, and the ratio of the cost of a sweep to that of one run.

A device-second is one second of one device: seconds × the device count of the cost row, or × the measured share of a
shared device. Device-seconds of different device kinds are not comparable. They are added or divided only after
conversion by the speeds that a calibration measured on each kind, and such results are marked.

Comparisons use the CPU time of trials on CPUs, because the seconds of a core that other programs share depend on them
(`clock_of`). Trials on GPUs, and those of releases that did not record CPU time, are compared by device-seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from evaluation.records import Cost

Clock = Literal["CPU time", "device time"]
CPU_TIME: Clock = "CPU time"
DEVICE_TIME: Clock = "device time"

COMPARED_PHASES = ("train", "evaluate")
"""The phases that are compared: training, and measuring rate and distortion. Further metrics and pictures are optional.
Set-up (data, compile) is charged to the first trial of a worker process, and the cost of checkpoints depends on their
interval; MLPerf leaves initialisation out too. The compute table has all phases."""

FURTHER = "further evaluations"
"""The phase of evaluations of rate and distortion whose points are not compared."""
UNCALIBRATED: Mapping[str, float] = MappingProxyType({})
"""No calibrated speeds."""


@dataclass(frozen=True)
class Run:
    """The cost rows of all attempts at one trial, with what is needed to separate useful from lost work.

    `images` is the number of training images in the trial's history, over all attempts; None if it is unknown.
    `eval_id` is the evaluation whose points are compared; None if it is unknown.
    """

    trial_id: str
    finished: bool
    costs: tuple[Cost, ...]
    images: int | None = None
    eval_id: str | None = None


@dataclass(frozen=True)
class Spent:
    """The cost of one phase on one device kind.

    `useful` work contributed to a finished result. The rest belongs to trials that are not finished, and to attempts
    that failed, were killed or were interrupted, except the training that a later attempt resumed from. `flops` is
    None if none of the work was counted, `joules` and `cpu_seconds` if any part is unknown.
    """

    phase: str
    device_kind: str
    useful: bool
    seconds: float
    device_seconds: float
    flops: float | None
    joules: float | None
    cpu_seconds: float | None = None


@dataclass(frozen=True)
class Ratio:
    """A ratio of times, or None with the `reason`; `remark` says how times were converted, if they were.

    `seconds` are the times of the single run and of the sweep.
    """

    value: float | None
    reason: str = ""
    remark: str = ""
    seconds: tuple[float, float] = (0.0, 0.0)


def spent(run: Run) -> tuple[Spent, ...]:
    """Return the cost of one trial, by phase, device kind and usefulness.

    If an attempt resumed from a checkpoint of an earlier one, a share of the earlier attempts' training is useful: the
    images that the last attempt did not train on itself. Everything else of unsuccessful attempts is lost. One
    evaluation has the phase "evaluate": the one that is compared. The others have the phase `FURTHER`.
    """
    share = _share_taken_over(run)
    evaluated = _evaluating_attempt(run)
    pieces: list[Spent] = []
    for cost in run.costs:
        if cost.phase == "evaluate" and cost.outcome == "done" and cost.attempt != evaluated:
            cost = replace(cost, phase=FURTHER)  # noqa: PLW2901 (the same cost by its own name)
        useful = _useful_share(run, cost, share)
        pieces += [_part(cost, useful, useful=True), _part(cost, 1 - useful, useful=False)]
    return total(piece for piece in pieces if piece.seconds > 0 or piece.flops)


def total(pieces: Iterable[Spent]) -> tuple[Spent, ...]:
    """Add the costs of the same phase, device kind and usefulness."""
    sums: dict[tuple[str, str, bool], Spent] = {}
    for piece in pieces:
        key = (piece.phase, piece.device_kind, piece.useful)
        sums[key] = _add(sums[key], piece) if key in sums else piece
    return tuple(sums.values())


def clock_of(pieces: Iterable[Spent]) -> Clock:
    """Return the clock by which costs are compared: the CPU time if all that is compared has one."""
    times = [piece.cpu_seconds for piece in pieces if _is_compared(piece)]
    return CPU_TIME if times and None not in times else DEVICE_TIME


def compared(pieces: Iterable[Spent], clock: Clock) -> list[Spent]:
    """Return the useful costs in the compared phases; by `CPU_TIME`, the CPU time replaces their device-seconds."""
    kept = [piece for piece in pieces if _is_compared(piece)]
    if clock == DEVICE_TIME:
        return kept
    return [replace(piece, device_seconds=piece.cpu_seconds or 0.0) for piece in kept]


def device_seconds(pieces: Iterable[Spent], *, useful: bool) -> dict[str, float]:
    """Return the device-seconds of all phases by device kind."""
    seconds: dict[str, float] = {}
    for piece in pieces:
        if piece.useful == useful:
            seconds[piece.device_kind] = seconds.get(piece.device_kind, 0.0) + piece.device_seconds
    return seconds


def convert(pieces: Iterable[Spent], speeds: Mapping[str, float], to: str) -> tuple[Spent, ...]:
    """Return the costs as times on the device kind `to`: a second of kind A is speed_A / speed_to seconds there.

    `speeds` are of one workload, in any unit per device-second; other workloads may have other ratios. FLOPs do not
    change, and joules become None. Costs on the kind `to` do not change. Raises ValueError if a speed is missing.
    """
    return tuple(piece if piece.device_kind == to else _converted(piece, speeds, to) for piece in pieces)


def times_cheaper(
    single: Sequence[Run],
    sweep: Sequence[Run],
    clock: Clock = DEVICE_TIME,
    *,
    speeds: Mapping[str, float] = UNCALIBRATED,
) -> Ratio:
    """Return the useful time of `sweep` over that of `single`, in the compared phases, by the clock.

    Both sides are of one seed: the β-VAEs of the sweep and the MR-VAE run. If they ran on several kinds of device,
    times are converted by the `speeds` of all of them; without these there is no ratio.
    """
    return times_cheaper_with_choice(single, sweep, (), (), clock, speeds=speeds)


def times_cheaper_with_choice(
    single: Sequence[Run],
    sweep: Sequence[Run],
    single_tried: Sequence[Run],
    sweep_tried: Sequence[Run],
    clock: Clock = DEVICE_TIME,
    *,
    speeds: Mapping[str, float] = UNCALIBRATED,
) -> Ratio:
    """Return the ratio of `times_cheaper` if each side includes the trials that chose its learning rate.

    Both sides are of all seeds, since one choice serves all seeds. All work of these trials counts, also of rates that
    failed: the choice needed it.
    """
    reason = _unfinished("the single run", single) or _unfinished("the sweep", sweep)
    if reason:
        return Ratio(None, reason)
    # Lost work counts too: the choice needed it.
    tried = [[replace(piece, useful=True) for piece in _pieces(runs)] for runs in (single_tried, sweep_tried)]
    one, other = (compared(side, clock) for side in ([*_pieces(single), *tried[0]], [*_pieces(sweep), *tried[1]]))
    return _ratio(one, other, speeds)


def _pieces(runs: Sequence[Run]) -> list[Spent]:
    return [piece for run in runs for piece in spent(run)]


def _is_compared(piece: Spent) -> bool:
    return piece.phase in COMPARED_PHASES and piece.useful


def _ratio(single: Sequence[Spent], sweep: Sequence[Spent], speeds: Mapping[str, float]) -> Ratio:
    kinds = sorted({piece.device_kind for piece in (*single, *sweep)})
    if len(kinds) < 2:  # noqa: PLR2004 (one kind, or nothing)
        return _quotient(single, sweep)
    lacking = [kind for kind in kinds if kind not in speeds]
    if lacking:
        return Ratio(
            None,
            f"the trials ran on different kinds of device ({' and '.join(kinds)}); to convert their times, run "
            f"“mrvae-orch doctor --calibrate” with this store on {' and '.join(lacking)}",
        )
    # Any kind gives the same ratio; to the slowest, the factors that the remark states are above 1.
    to = min(kinds, key=speeds.__getitem__)
    converted = _quotient(convert(single, speeds, to), convert(sweep, speeds, to))
    return converted if converted.value is None else replace(converted, remark=_remark(kinds, speeds, to))


def _quotient(single: Sequence[Spent], sweep: Sequence[Spent]) -> Ratio:
    below, above = (sum(piece.device_seconds for piece in side) for side in (single, sweep))
    if not (above > 0 and below > 0):
        return Ratio(None, "no device time is recorded")
    return Ratio(above / below, seconds=(below, above))


def _remark(kinds: Sequence[str], speeds: Mapping[str, float], to: str) -> str:
    factors = " and ".join(f"1 s on {kind} as {speeds[kind] / speeds[to]:,.2f} s" for kind in kinds if kind != to)
    return f"converted by calibration: {factors} on {to}"


def _converted(piece: Spent, speeds: Mapping[str, float], to: str) -> Spent:
    lacking = [kind for kind in (piece.device_kind, to) if kind not in speeds]
    if lacking:
        raise ValueError(f"{' and '.join(lacking)} is not calibrated; run “mrvae-orch doctor --calibrate” there")
    factor = speeds[piece.device_kind] / speeds[to]
    return replace(
        piece,
        device_kind=to,
        seconds=piece.seconds * factor,
        device_seconds=piece.device_seconds * factor,
        joules=None,
        cpu_seconds=None if piece.cpu_seconds is None else piece.cpu_seconds * factor,
    )


def _unfinished(name: str, runs: Sequence[Run]) -> str:
    if not runs:
        return f"{name} has no trial"
    unknown = sum(run.finished and not any(cost.phase == "train" for cost in run.costs) for run in runs)
    if unknown:
        return f"the costs of {unknown} of {len(runs)} trials of {name} cannot be read"
    count = sum(not run.finished for run in runs)
    return f"{count} of {len(runs)} trials of {name} {'is' if count == 1 else 'are'} not finished" if count else ""


def _useful_share(run: Run, cost: Cost, share_taken_over: float) -> float:
    if not run.finished:
        return 0.0
    if cost.outcome == "done":
        return 1.0
    return share_taken_over if cost.phase == "train" else 0.0


def _evaluating_attempt(run: Run) -> int | None:
    """Return the first attempt that completed the compared evaluation.

    Costs of earlier releases do not name their evaluation. Then it is the first that was completed.
    """
    done = [cost for cost in run.costs if cost.phase == "evaluate" and cost.outcome == "done"]
    named = [cost for cost in done if cost.eval_id is not None and cost.eval_id == run.eval_id]
    return min((cost.attempt for cost in named or done), default=None)


def _share_taken_over(run: Run) -> float:
    """Return the share of earlier attempts' training, in images, that the finished trial resumed from."""
    done = sum(cost.images for cost in run.costs if cost.phase == "train" and cost.outcome == "done")
    others = sum(cost.images for cost in run.costs if cost.phase == "train" and cost.outcome != "done")
    if others == 0:
        return 0.0
    # Without a history the share is unknown; counting all of it never favours a method.
    needed = done + others if run.images is None else run.images
    return min(max(needed - done, 0) / others, 1.0)


def _part(cost: Cost, share: float, *, useful: bool) -> Spent:
    seconds, device_seconds = share * cost.seconds, share * cost.device_seconds
    flops, joules, cpu_seconds = (
        None if whole is None else share * whole for whole in (cost.flops, cost.joules, cost.cpu_seconds)
    )
    return Spent(cost.phase, cost.device_kind, useful, seconds, device_seconds, flops, joules, cpu_seconds)


def _add(one: Spent, other: Spent) -> Spent:
    counted = [piece.flops for piece in (one, other) if piece.flops is not None]
    return replace(
        one,
        seconds=one.seconds + other.seconds,
        device_seconds=one.device_seconds + other.device_seconds,
        flops=sum(counted) if counted else None,
        joules=_sum(one.joules, other.joules),
        cpu_seconds=_sum(one.cpu_seconds, other.cpu_seconds),
    )


def _sum(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one + other
