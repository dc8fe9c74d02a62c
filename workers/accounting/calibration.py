"""The speed of a kind of device at one fixed workload, so that times on different kinds can be compared.

The workload is the residual VAE of 1x28x28 examples at batch size 128 in float32, trained as trials are, on random
pixels. Another model may have another ratio of speeds: a small network on a large GPU waits for its host.
Reading calibrations imports no torch, because reports read them.
"""

from __future__ import annotations

import itertools
import json
import math
import re
import statistics
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import torch

    from evaluation.records import Cost
    from workers.store.store import Folder, Store

WORKLOAD = 1
"""The version of the workload; increase it with every change, because speeds at different ones cannot be compared."""
FOLDER = "calibrations"
BATCH, EXAMPLES = 128, 2048
ENDLESS = 1_000_000
"""A number of epochs that no calibration reaches."""
WARM_UP_STEPS, ROUNDS, ROUND_SECONDS = 3, 7, 3.0
LEARNING_RATE = 1e-4
"""Low, so that thousands of steps on random pixels stay finite."""
LARGEST_SPREAD = 0.1
"""Largest difference of the rounds as a fraction of their median; larger ones mean that the device was not idle."""


class CalibrationError(Exception):
    """A calibration's file is damaged or has another workload; the message names the file and the next step."""


@dataclass(frozen=True)
class Calibration:
    """Images of the workload per device-second, the median of its rounds, with the slowest and the fastest one.

    A device-second of a CPU is one second of one core, and `threads` cores were used; a device-second of a GPU is one
    second of the GPU, and `threads` are those of its process. `measured_at` is in seconds since 1970.

    Raises:
        ValueError: a speed is not a finite number above 0, or the three are not in order.
    """

    device_kind: str
    threads: int
    images_per_device_second: float
    slowest: float
    fastest: float
    rounds: int
    on_gpu: bool
    commit: str
    torch: str
    measured_at: float
    workload: int = WORKLOAD

    def __post_init__(self) -> None:
        if not 0 < self.slowest <= self.images_per_device_second <= self.fastest < math.inf:
            raise ValueError(
                f"speeds are {self.slowest}, {self.images_per_device_second} and {self.fastest}; "
                "they must be finite, above 0 and in this order"
            )

    @property
    def file_name(self) -> str:
        """The name of its file: one per kind of device, so that a new calibration replaces it."""
        slug = re.sub(r"[^a-z0-9]+", "-", self.device_kind.lower()).strip("-")
        return f"{slug or 'unnamed'}.json"

    @property
    def disturbed(self) -> bool:
        """Whether the rounds differ by more than those of an idle device."""
        return self.fastest - self.slowest > LARGEST_SPREAD * self.images_per_device_second

    def __str__(self) -> str:
        threads = f"{self.threads} thread{'s' if self.threads > 1 else ''}"
        text = (
            f"calibration of {self.device_kind}: {self.images_per_device_second:,.1f} images per device-second "
            f"({self.slowest:,.1f} to {self.fastest:,.1f} in {self.rounds} rounds, {threads})"
        )
        remark = "; the rounds are far apart, so calibrate again while nothing else runs there"
        return text + remark if self.disturbed else text


def calibrate(gpus: float, threads: int, *, clock: Callable[[], float], now: Callable[[], float]) -> Calibration:
    """Return the speed of the device for a trial with this number of GPUs and threads; takes about half a minute.

    Raises DeviceMissing where `gpus` is above 0 and torch sees none.
    """
    # Imported here because reports read calibrations without torch.
    import torch

    from workers.devices.devices import choose_device, device_kind
    from workers.provenance import code_version

    torch.set_num_threads(threads)
    device = choose_device(gpus)
    on_gpu = device.type == "cuda"
    found = images_per_second(_workload(device, threads), clock, ROUND_SECONDS)
    # As for trials: a GPU is one device, and on a CPU each thread's core is one.
    speeds = [speed / (1 if on_gpu else threads) for speed in found]
    return Calibration(
        device_kind=device_kind(device),
        threads=threads,
        images_per_device_second=statistics.median(speeds),
        slowest=min(speeds),
        fastest=max(speeds),
        rounds=len(speeds),
        on_gpu=on_gpu,
        commit=code_version(),
        torch=metadata.version("torch"),
        measured_at=now(),
    )


def images_per_second(
    take_steps: Callable[[int], None], clock: Callable[[], float], round_seconds: float
) -> list[float]:
    """Return the images per second of each round. `take_steps` takes a number of steps and waits until they are done.

    The first steps, in which kernels are chosen, and the first round, in which clocks rise, are left out.
    """

    def seconds(steps: int) -> float:
        started = clock()
        take_steps(steps)
        return clock() - started

    take_steps(WARM_UP_STEPS)
    steps = max(1, round(round_seconds / seconds(1)))
    take_steps(steps)
    return [steps * BATCH / seconds(steps) for _ in range(ROUNDS)]


def write_calibration(store: Store, calibration: Calibration) -> str:
    """Write a calibration in place of an earlier one of its kind; returns the file's path. Raises StoreError."""
    folder = _folder(store)
    folder.write_json(calibration.file_name, asdict(calibration))
    return folder.place(calibration.file_name)


def read_calibrations(store: Store) -> tuple[list[Calibration], list[str]]:
    """Return a store's calibrations, and an error message for each one that cannot be read."""
    found, wrong = [], []
    for name in _folder(store).names("*.json"):
        try:
            found.append(_read(_folder(store), name))
        except CalibrationError as error:
            wrong.append(str(error))
    return found, wrong


def speeds_for(store: Store, costs: Sequence[Cost]) -> tuple[dict[str, float], list[str]]:
    """Return the speeds that convert the times of several device kinds, and remarks about them for the reader.

    Both are empty where all trials ran on one kind. On a CPU a core's speed depends on the number of busy cores, so a
    calibration is only used for trials with the same number of threads.
    """
    counts: dict[str, set[float]] = {}
    for cost in costs:
        counts.setdefault(cost.device_kind, set()).add(cost.device_count)
    if len(counts) < 2:  # noqa: PLR2004 (one kind needs no conversion)
        return {}, []
    calibrations, remarks = read_calibrations(store)
    speeds = {}
    for found in calibrations:
        had = counts.get(found.device_kind)
        if had is None:
            continue
        if not found.on_gpu and had != {found.threads}:
            remarks.append(_misfit(found, had))
            continue
        speeds[found.device_kind] = found.images_per_device_second
        if found.disturbed:
            remarks.append(f"{found}.")
    return speeds, remarks


def _misfit(found: Calibration, had: set[float]) -> str:
    counts = [f"{count:g}" for count in sorted(had)]
    way_out = f"run `mrvae-orch doctor --calibrate --threads {counts[0]}` there"
    if len(counts) > 1:
        way_out = "trials with different numbers of threads have no common speed"
    return f"{found}: not used, because trials had {' and '.join(counts)} threads; {way_out}."


def _folder(store: Store) -> Folder:
    return store.folder(FOLDER)


def _read(folder: Folder, name: str) -> Calibration:
    again = "run `mrvae-orch doctor --calibrate` where it was made, or delete it"
    try:
        found = Calibration(**json.loads(folder.read(name) or b""))
    except (ValueError, TypeError) as error:
        raise CalibrationError(f"{folder.place(name)}: not a calibration ({error}); {again}") from error
    if found.workload != WORKLOAD:
        raise CalibrationError(
            f"{folder.place(name)}: has workload {found.workload}, but this release has {WORKLOAD}; {again}"
        )
    return found


def _workload(device: torch.device, threads: int) -> Callable[[int], None]:
    """Return a function that takes a number of training steps and waits until the device has done them."""
    import torch

    from models.architectures.resnet import ResNet
    from workers.data.published.mnist import MNIST
    from workers.data.resident import Images
    from workers.devices.devices import synchronise
    from workers.training.state import TrainingState
    from workers.trial import BetaVAE, Objective, Training, Trial

    training = Training(ENDLESS, BATCH, LEARNING_RATE, schedule="constant", threads=threads)
    # MNIST's shape, without its files.
    trial = Trial(MNIST(binarise="dynamic"), ResNet(), Objective(), BetaVAE(1.0), training, seed=0)
    random = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (EXAMPLES, *trial.dataset.shape), generator=random, dtype=torch.uint8)
    state = TrainingState(trial, Images(pixels, None, dynamic=True).to(device), device)
    batches = itertools.chain.from_iterable(map(state.sampler.batches, range(ENDLESS)))

    def take_steps(steps: int) -> None:
        for indices in itertools.islice(batches, steps):
            state.advance(indices)
        synchronise(device)

    return take_steps
