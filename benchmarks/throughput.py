"""The product's training step beside a plain loop's, and the multi-rate step beside the plain one's.

    [MRVAE_DATA=FOLDER] python -m benchmarks throughput

Each architecture on examples of its own shape, all contenders in one process, in rounds, one after another, so that
what else the machine does hits all alike. Ratios are taken within a round. MNIST where its files are, else random
pixels. The networks that take a CPU tens of seconds a step at 128 examples are measured with fewer.
"""

from __future__ import annotations

import functools
import os
import platform
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from benchmarks import plain_loop
from models.architectures.conv import Conv
from models.architectures.linear.linear import Linear
from models.architectures.lstm.lstm import LSTM
from models.architectures.mlp import MLP
from models.architectures.resnet import ResNet
from models.architectures.tcvae_mlp import TCVAEMLP
from models.shapes import describe_shape
from models.vae import END, START
from workers.data.dataset import Dataset
from workers.data.published.mnist import MNIST
from workers.data.resident import Images
from workers.data.sentences import Sentences
from workers.devices.devices import device_kind, synchronise
from workers.training.state import TrainingState
from workers.trial import BetaVAE, MultiRateVAE, Objective, Training, Trial

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from models.architecture import Architecture
    from models.shapes import Shape
    from workers.data.split import Split
    from workers.trial import Method

PLAIN, MULTI_RATE = "plain", "multi-rate"
METHODS: dict[str, Method] = {PLAIN: BetaVAE(1.0), MULTI_RATE: MultiRateVAE(0.01, 10.0)}
LONGEST_MULTI_RATE_STEP = 1.05
THREADS = min(2, os.cpu_count() or 1)
SECONDS, LEAST_ROUNDS, WARM_UP_STEPS = 20.0, 5, 2
SECONDS_A_TURN = 0.1
"""A turn has as many steps as fit, so that reading the clock does not count."""
LOADING_WORKERS = {"cpu": (0, 2), "cuda": (0, 4, 8)}
ENDLESS = 1_000_000
"""Epochs that no measurement sees the end of."""
RANDOM_EXAMPLES = 2048
BERNOULLI, SQUARED_ERROR = Objective("bernoulli"), Objective("squared-error")
DATA = Path(os.environ.get("MRVAE_DATA", "data"))
DIGITS = MNIST(binarise="dynamic")


@dataclass(frozen=True)
class Case:
    """An architecture, and examples of a shape that it is made for.

    The product's step is to be `least_speed_up` times as fast as the plain loop. `batch` is the usual batch size,
    `cpu_batch` the one that a CPU is measured with.
    """

    architecture: Architecture
    split: Callable[[], Split]
    objective: Objective = BERNOULLI
    cpu_batch: int = 128
    batch: int = 128
    least_speed_up: float | None = None

    def __str__(self) -> str:
        return f"{self.architecture.name} {describe_shape(self.split().shape)}"


@dataclass(frozen=True)
class Shaped(Dataset):
    """No data, but a shape: a trial builds its model for it."""

    shape: Shape = ()


@functools.cache
def digits() -> Split:
    """Return MNIST's training images with dynamic binarisation, or random ones of their shape."""
    return DIGITS.load(DATA).train if mnist_is_there() else random_images(1, 28, dynamic=True)


def mnist_is_there() -> bool:
    """Return whether MNIST's files are below the data folder."""
    return all(path.is_file() for path in DIGITS.locate(DATA))


@functools.cache
def random_images(channels: int, side: int, *, dynamic: bool = False) -> Images:
    """Return square images of random pixels; those that are not binarised are flipped at random."""
    shape = (RANDOM_EXAMPLES, channels, side, side)
    pixels = torch.randint(256, shape, generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    return Images(pixels, None, dynamic=dynamic, flip=not dynamic)


@functools.cache
def random_sentences(words: int, vocabulary: int) -> Sentences:
    """Return sentences of so many random words, START and END beside them."""
    tokens = torch.randint(4, vocabulary, (RANDOM_EXAMPLES, words + 2), generator=torch.Generator().manual_seed(0))
    tokens[:, 0], tokens[:, -1] = START, END
    lengths = torch.full((RANDOM_EXAMPLES,), words + 2)
    return Sentences(tokens.int(), lengths, tuple(map(str, range(vocabulary))))


CASES = (
    Case(MLP(), digits),
    Case(Linear(), digits, SQUARED_ERROR),
    Case(ResNet(), digits, least_speed_up=1.5),
    Case(Conv(), digits),
    Case(ResNet(latent_units=256), lambda: random_images(3, 32), SQUARED_ERROR),
    Case(Conv(latent_units=256), lambda: random_images(3, 32), SQUARED_ERROR, cpu_batch=16),
    Case(ResNet(latent_units=64), lambda: random_images(3, 64), SQUARED_ERROR, cpu_batch=32),
    Case(Conv(latent_units=64), lambda: random_images(3, 64), SQUARED_ERROR, cpu_batch=8),
    Case(TCVAEMLP(), lambda: random_images(1, 64, dynamic=True), Objective(name="beta-tcvae"), batch=2048),
    Case(LSTM(), lambda: random_sentences(80, 20_001), Objective("categorical"), cpu_batch=4, batch=32),
)


def product_state(case: Case, method: Method, device: torch.device, batch: int, **options: object) -> TrainingState:
    """Return the product's training of a case; `options` are of `Training`."""
    split = case.split()
    training = Training(epochs=ENDLESS, batch_size=batch, schedule="constant", threads=THREADS, **options)  # type: ignore[arg-type]  # options are the caller's
    trial = Trial(Shaped(shape=split.shape), case.architecture, case.objective, method, training, seed=0)
    return TrainingState(trial, split.to(device), device)


def product_steps(state: TrainingState) -> Iterator[None]:
    """Take the product's steps without end, and yield after each."""
    for epoch in range(ENDLESS):
        for indices in state.sampler.batches(epoch):
            state.advance(indices)
            yield


def plain_loop_steps(case: Case, device: torch.device, batch: int, workers: int) -> Iterator[None] | None:
    """Return the plain loop's steps, or None where it has no such model. Raises ValueError where its model differs."""
    split = case.split()
    build = plain_loop.MODELS.get((case.architecture.name, split.shape))
    if build is None or not isinstance(split, Images):
        return None
    model = build()
    theirs = sum(parameter.numel() for parameter in model.parameters())
    ours = sum(parameter.numel() for parameter in case.architecture.build(split.shape, "bernoulli", None).parameters())
    if theirs != ours:
        raise ValueError(f"{case}: the plain loop's model has {theirs:,} parameters, the product's {ours:,}")
    return plain_loop.training(model, split.pixels, batch, workers, device)


@dataclass(frozen=True)
class Turn:
    """Seconds a step: by the clock, and of this process's CPU time, of all its threads, waiting ones too."""

    clock: float
    cpu: float


@dataclass(frozen=True)
class Contender:
    """The turns that one has taken."""

    turns: list[Turn]

    @property
    def clock(self) -> list[float]:
        """Seconds a step by the clock, turn by turn."""
        return [turn.clock for turn in self.turns]

    @property
    def cpu(self) -> list[float]:
        """Seconds a step of CPU time, turn by turn."""
        return [turn.cpu for turn in self.turns]

    @property
    def seconds(self) -> float:
        """The median of the seconds a step by the clock."""
        return statistics.median(self.clock)


@dataclass(frozen=True)
class Ratio:
    """The median of the rounds' ratios, with their range."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, numerators: list[float], denominators: list[float]) -> Ratio:
        """Return the ratio of two contenders' seconds, round by round."""
        ratios = [one / other for one, other in zip(numerators, denominators, strict=True)]
        return cls(statistics.median(ratios), min(ratios), max(ratios))

    def __str__(self) -> str:
        return f"{self.median:.3f} ({self.low:.3f} to {self.high:.3f})"


def measure(steppers: Mapping[str, Iterator[None]], seconds: float, device: torch.device) -> dict[str, Contender]:
    """Return each one's turns; they take them in rounds for so many seconds, in another order each round."""
    steps = {}
    for name, stepper in steppers.items():
        take_turn(stepper, WARM_UP_STEPS, device)
        steps[name] = max(1, round(SECONDS_A_TURN / take_turn(stepper, 1, device).clock))
    turns: dict[str, list[Turn]] = {name: [] for name in steppers}
    names, rounds, started = list(steppers), 0, time.perf_counter()
    while rounds < LEAST_ROUNDS or time.perf_counter() - started < seconds:
        names.append(names.pop(0))
        for name in names:
            turns[name].append(take_turn(steppers[name], steps[name], device))
        rounds += 1
    return {name: Contender(taken) for name, taken in turns.items()}


def take_turn(stepper: Iterator[None], steps: int, device: torch.device) -> Turn:
    """Take so many steps; returns the mean time of one."""
    synchronise(device)
    clock, cpu = time.perf_counter(), time.process_time()
    for _ in range(steps):
        next(stepper)
    synchronise(device)
    return Turn((time.perf_counter() - clock) / steps, (time.process_time() - cpu) / steps)


def compare(case: Case, device: torch.device, batch: int, seconds: float, **options: object) -> None:
    """Print what one case comes to; `options` are of `Training`, and of the product's steps alone."""
    steppers = {
        name: product_steps(product_state(case, method, device, batch, **options)) for name, method in METHODS.items()
    }
    loops = {workers: plain_loop_steps(case, device, batch, workers) for workers in LOADING_WORKERS[device.type]}
    steppers |= {f"{workers} workers": loop for workers, loop in loops.items() if loop is not None}
    found = measure(steppers, seconds, device)
    plain, multi_rate = found.pop(PLAIN), found.pop(MULTI_RATE)
    print(
        f"{case}, batch {batch}: {batch / plain.seconds:,.1f} examples/s plain, {batch / multi_rate.seconds:,.1f} "
        f"multi-rate; {len(plain.turns)} rounds"
    )
    by_clock, by_cpu = Ratio.of(multi_rate.clock, plain.clock), Ratio.of(multi_rate.cpu, plain.cpu)
    judged = by_cpu if device.type == "cpu" else by_clock
    verdict = "within" if judged.median <= LONGEST_MULTI_RATE_STEP else "MISSED"
    print(
        f"  multi-rate / plain step: clock {by_clock}, CPU {by_cpu}; bound {LONGEST_MULTI_RATE_STEP:g} on the "
        f"{'CPU' if device.type == 'cpu' else 'clock'}: {verdict}"
    )
    if found:
        compare_with_loops(plain, found, case.least_speed_up, batch)


def compare_with_loops(plain: Contender, loops: Mapping[str, Contender], bound: float | None, batch: int) -> None:
    """Print what the plain loops take beside the product's plain step; the faster one is held against the bound."""
    for name, loop in loops.items():
        # What workers of a loader do is not in this process's CPU time.
        by_cpu = f", CPU {Ratio.of(loop.cpu, plain.cpu)}" if name == "0 workers" else ""
        by_clock = Ratio.of(loop.clock, plain.clock)
        print(
            f"  plain loop with {name} ({batch / loop.seconds:,.1f} examples/s) / plain step: clock {by_clock}{by_cpu}"
        )
    name, fastest = min(loops.items(), key=lambda item: item[1].seconds)
    speed_up = Ratio.of(fastest.clock, plain.clock).median
    if bound is not None:
        verdict = "within" if speed_up >= bound else "MISSED"
        print(f"  the plain loop with {name} is the faster: {speed_up:.3f}, at least {bound:g} wanted: {verdict}")


def run() -> None:
    """Print the ratios of all cases, on as many CPU threads as the plain loop may have."""
    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    device = torch.device("cpu")
    print(f"{device_kind(device)}, {os.cpu_count()} CPUs, {THREADS} threads; {describe_setting()}; float32")
    for case in CASES:
        compare(case, device, case.cpu_batch, SECONDS)


def describe_setting() -> str:
    """Return the versions, and what the examples are."""
    digits_are = "MNIST" if mnist_is_there() else "random pixels (no MNIST below MRVAE_DATA)"
    return (
        f"Python {platform.python_version()}, torch {torch.__version__}; examples of 1x28x28 are {digits_are}, the "
        "others random"
    )


if __name__ == "__main__":
    run()
