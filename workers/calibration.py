"""How fast a kind of device is at one fixed workload, so that times on different kinds can be compared.

The workload is the residual VAE of 1x28x28 examples at batch size 128 in float32, trained as trials are, on random
pixels. What else a sweep trains may have another ratio of speeds: a small network on a large GPU waits for its host.
Reading what was measured imports no torch: reports do it too.
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
    from workers.store import Folder, Store

WORKLOAD = 1
"""Raised by hand whenever the workload changes: speeds at different ones have no ratio."""
FOLDER = "calibrations"
BATCH, EXAMPLES = 128, 2048
ENDLESS = 1_000_000
"""Epochs that no calibration sees the end of."""
WARM_UP_STEPS, ROUNDS, ROUND_SECONDS = 3, 7, 3.0
LEARNING_RATE = 1e-4
"""Low, so that thousands of steps on random pixels stay finite."""
LARGEST_SPREAD = 0.1
"""Of the median: rounds that are further apart were disturbed."""


class CalibrationError(Exception):
    """A calibration's file is damaged, or of another workload; the message names the file and the next step."""


@dataclass(frozen=True)
class Calibration:
    """Images of the workload per device-second, the median of its rounds, with the slowest and the fastest one.

    A device-second of a CPU is one of a core, and `threads` cores took part; a GPU's is its own, and `threads` are of
    the process that feeds it. `measured_at` is in seconds since 1970.

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
        """The name of its file: one for a kind of device, so that measuring again replaces it."""
        slug = re.sub(r"[^a-z0-9]+", "-", self.device_kind.lower()).strip("-")
        return f"{slug or 'unnamed'}.json"

    @property
    def disturbed(self) -> bool:
        """Whether the rounds differ by more than an idle device's do."""
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
    """Return the speed of the device that a trial with so many GPUs and threads gets; takes about half a minute.

    Raises DeviceMissing where torch sees no GPU and one is asked for.
    """
    # Imported here because reports read calibrations without torch.
    import torch

    from workers.devices import choose_device, device_kind
    from workers.provenance import code_version

    torch.set_num_threads(threads)
    device = choose_device(gpus)
    on_gpu = device.type == "cuda"
    found = images_per_second(_workload(device, threads), clock, ROUND_SECONDS)
    # As trials count: a GPU is one device, and on a CPU each thread's core is one.
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
    """Return the images a second of each round; `take_steps` takes so many steps and returns when they are done.

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
    """Return a store's calibrations, and what is wrong with those that cannot be read."""
    found, wrong = [], []
    for name in _folder(store).names("*.json"):
        try:
            found.append(_read(_folder(store), name))
        except CalibrationError as error:
            wrong.append(str(error))
    return found, wrong


def speeds_for(store: Store, costs: Sequence[Cost]) -> tuple[dict[str, float], list[str]]:
    """Return the speeds to convert the times of several device kinds by, and what a reader must know about them.

    Empty where all ran on one kind. On a CPU a core's speed depends on how many work together, so a calibration serves
    trials of as many threads only.
    """
    counts: dict[str, set[float]] = {}
    for cost in costs:
        counts.setdefault(cost.device_kind, set()).add(cost.device_count)
    if len(counts) < 2:  # noqa: PLR2004 (of one kind there is nothing to convert)
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
        way_out = "trials of several numbers of threads have no speed in common"
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
            f"{folder.place(name)}: of workload {found.workload}, and this release has {WORKLOAD}; {again}"
        )
    return found


def _workload(device: torch.device, threads: int) -> Callable[[int], None]:
    """Return what takes so many training steps and waits until the device has done them."""
    import torch

    from models.resnet import ResNet
    from workers.data.mnist import MNIST
    from workers.data.resident import Images
    from workers.devices import synchronise
    from workers.training import TrainingState
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
