"""How long a trial should take: from what others took, else from what devices usually do. Pure.

Work is counted in FLOPs of matrix products and convolutions alone: two for a multiply-add, and three times as
many to train on an image as to look at it once (forward, and backward to weights and to inputs).
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from evaluation.records import Cost
    from models.architecture import Architecture, Shape
    from orchestrator.plan import PlannedTrial
    from workers.trial import Trial

NOMINAL_FLOPS_PER_CPU = 5e10
NOMINAL_FLOPS_PER_GPU = 1e13
FORWARD_PASSES = {"train": 3, "evaluate": 1}
"""What an image costs in the phases that do counted work, in forward passes."""

_GPU_NAMES = ("NVIDIA", "Tesla", "Quadro", "GeForce", "AMD Instinct", "AMD Radeon")


@dataclass(frozen=True)
class Observation:
    """What a trial took so far, all its phases and attempts together: `device_seconds` for `work_flops`."""

    dataset: str
    architecture: str
    on_gpu: bool
    work_flops: float
    device_seconds: float


@dataclass(frozen=True)
class Estimate:
    """The device-seconds that a trial should take, and what that is known from."""

    device_seconds: float
    source: str


def observe(trial: Trial, costs: Iterable[Cost]) -> Observation | None:
    """Return what a trial's costs tell of its device's speed, or None where no work was counted."""
    rows = list(costs)
    forward = forward_flops(trial.architecture, trial.dataset.shape)
    work = sum(forward * FORWARD_PASSES.get(row.phase, 0) * row.images for row in rows)
    if not work:
        return None
    return Observation(
        dataset=trial.dataset.name,
        architecture=trial.architecture.name,
        on_gpu=any(is_gpu(row.device_kind) for row in rows),
        work_flops=work,
        device_seconds=sum(row.device_seconds for row in rows),
    )


def estimate_device_seconds(planned: PlannedTrial, observations: Sequence[Observation]) -> Estimate:
    """Return how long one trial should take; `estimate_all` is the way for many."""
    return _Speeds(observations).estimate(planned)


def estimate_all(trials: Iterable[PlannedTrial], observations: Sequence[Observation]) -> dict[str, Estimate]:
    """Return how long each trial should take, by trial_id."""
    speeds = _Speeds(observations)
    return {planned.trial_id: speeds.estimate(planned) for planned in trials}


class _Speeds:
    """Seconds per FLOP as observed with the same dataset and architecture, else any, on such a device."""

    def __init__(self, observations: Iterable[Observation]) -> None:
        self._seen: dict[tuple[str | bool, ...], list[Observation]] = defaultdict(list)
        for seen in observations:
            self._seen[seen.on_gpu, seen.dataset, seen.architecture].append(seen)
            self._seen[seen.on_gpu,].append(seen)
        self._seconds_per_flop = {key: _seconds_per_flop(seen) for key, seen in self._seen.items()}

    def estimate(self, planned: PlannedTrial) -> Estimate:
        trial, on_gpu = planned.trial, planned.resources.gpus > 0
        work = work_flops(planned)
        alike = (on_gpu, trial.dataset.name, trial.architecture.name)
        if alike in self._seen:
            trials = len(self._seen[alike])
            source = f"measured on {trials} trial{'s' if trials > 1 else ''} like it"
            return Estimate(work * self._seconds_per_flop[alike], source)
        if (on_gpu,) in self._seen:
            return Estimate(work * self._seconds_per_flop[on_gpu,], "measured on other trials")
        # Of one thread: more of them are more devices, and are through sooner.
        return Estimate(work / (NOMINAL_FLOPS_PER_GPU if on_gpu else NOMINAL_FLOPS_PER_CPU), "nominal")


def is_gpu(device_kind: str) -> bool:
    """Whether the device kind of a cost row is that of a GPU; else it is that of a processor."""
    return device_kind.startswith(_GPU_NAMES)


def work_flops(planned: PlannedTrial) -> float:
    """Return the FLOPs of training a trial, and of evaluating it once at each of its β."""
    passes = sum(_forward_passes(planned))
    return passes * forward_flops(planned.trial.architecture, planned.trial.dataset.shape)


def share_left(planned: PlannedTrial, epoch: float, *, trained: bool) -> float:
    """Return which part of a trial's work is left after so many epochs: its evaluation alone where it is trained."""
    training, evaluation = _forward_passes(planned)
    begun = 1.0 if trained else min(epoch / planned.trial.training.epochs, 1.0)
    return (training * (1 - begun) + evaluation) / (training + evaluation)


def _forward_passes(planned: PlannedTrial) -> tuple[int, int]:
    """Return what training and evaluating a trial cost, in forward passes of one example."""
    dataset = planned.trial.dataset
    trained = planned.trial.training.epochs * dataset.examples_per_epoch
    examined = len(planned.evaluation.betas) * (planned.evaluation.limit or dataset.test_examples)
    return trained * FORWARD_PASSES["train"], examined * FORWARD_PASSES["evaluate"]


@lru_cache(maxsize=4096)
def forward_flops(architecture: Architecture, shape: Shape) -> float:
    """Return the FLOPs of one example's forward pass."""
    return 2.0 * architecture.multiply_adds(shape)


def _seconds_per_flop(seen: list[Observation]) -> float:
    return sum(each.device_seconds for each in seen) / sum(each.work_flops for each in seen)
