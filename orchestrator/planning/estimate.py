"""Estimates of a trial's cost, from the costs of other trials or else from nominal speeds. Pure.

Work is counted in FLOPs of matrix products and convolutions: two for a multiply-add, and training on an image counts
three forward passes (forward, and backward to weights and to inputs).
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from evaluation.records import Cost
    from models.architecture import Architecture
    from models.shapes import Shape
    from orchestrator.planning.plan import PlannedTrial
    from workers.trial import Trial

NOMINAL_FLOPS_PER_CPU = 5e10
NOMINAL_FLOPS_PER_GPU = 1e13
FORWARD_PASSES = {"train": 3, "evaluate": 1}
"""The cost of an image in forward passes, in the phases whose work is counted."""

_GPU_NAMES = ("NVIDIA", "Tesla", "Quadro", "GeForce", "AMD Instinct", "AMD Radeon")


@dataclass(frozen=True)
class Observation:
    """The cost of a trial so far, over all phases and attempts: `device_seconds` for `work_flops`."""

    dataset: str
    architecture: str
    on_gpu: bool
    work_flops: float
    device_seconds: float


@dataclass(frozen=True)
class Estimate:
    """The expected device-seconds of a trial, and the source of the estimate."""

    device_seconds: float
    source: str


def observe(trial: Trial, costs: Iterable[Cost]) -> Observation | None:
    """Return the observation that a trial's costs make, or None if no work was counted."""
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


def estimate_all(trials: Iterable[PlannedTrial], observations: Sequence[Observation]) -> dict[str, Estimate]:
    """Return the expected cost of each trial by its id."""
    speeds = _Speeds(observations)
    return {planned.trial_id: speeds.estimate(planned) for planned in trials}


class _Speeds:
    """Seconds per FLOP on a kind of device, with the same dataset and architecture if observed, else with any."""

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
    """Return the share of a trial's work that is left after some epochs; once it is trained, only the evaluation."""
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
