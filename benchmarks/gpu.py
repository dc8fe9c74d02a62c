"""What a GPU makes of it, in one call: tests, step times, compilation, packing, and a real training at the end.

    [MRVAE_DATA=FOLDER] python -m benchmarks.gpu [--dry] [tests] [steps] [execution] [packing] [training]

All parts where none is named. Needs torch, torchvision, NumPy, pyarrow, safetensors, and pytest for the tests. A part
that fails says how, and the next one goes on; the exit code is then 1. Without a GPU it is 2, unless --dry tries every
part on the CPU for a moment, with the smallest networks: that shows that the parts run, and no more.
"""

from __future__ import annotations

import copy
import itertools
import subprocess
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.func import functional_call, grad, stack_module_state, vmap

from benchmarks.throughput import (
    CASES,
    DATA,
    DIGITS,
    METHODS,
    PLAIN,
    Case,
    Ratio,
    compare,
    describe_setting,
    digits,
    measure,
    mnist_is_there,
    product_state,
    product_steps,
)
from evaluation.operating_points import beta_text
from evaluation.records import Point, from_parquet
from models.architectures.mlp import MLP
from models.architectures.resnet import ResNet
from workers.accounting.accountant import training_flops_per_image
from workers.data.digits import Digits
from workers.devices.devices import device_kind
from workers.running.context import Context
from workers.running.run import run_trial
from workers.store.store import Store
from workers.trial import BetaVAE, Evaluation, MultiRateVAE, Objective, Resources, Training, Trial

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from workers.training.state import TrainingState
    from workers.trial import Method

OPTIONS: dict[str, dict[str, object]] = {
    "float32": {},
    "bfloat16": {"precision": "bfloat16"},
    "bfloat16, channels last": {"precision": "bfloat16", "channels_last": True},
}
EXECUTIONS = {"eager": None, "compiled": "default", "CUDA graphs": "reduce-overhead"}
PACKS = (4, 16)
BETAS = (0.01, 0.1, 1.0, 10.0)


@dataclass(frozen=True)
class Setting:
    """Where the parts run and how long: on a GPU, or dry on the CPU."""

    device: torch.device
    seconds: float
    cases: tuple[Case, ...]
    few_cases: tuple[Case, ...]
    epochs: int

    @property
    def dry(self) -> bool:
        """Whether this is no measurement."""
        return self.device.type == "cpu"

    def batch(self, case: Case) -> int:
        """Return the batch size of a case."""
        return 8 if self.dry else case.batch


def gpu() -> Setting:
    """Return the measurement."""
    few = (Case(MLP(), digits), Case(ResNet(), digits))
    return Setting(torch.device("cuda", 0), seconds=4.0, cases=CASES, few_cases=few, epochs=20)


def dry() -> Setting:
    """Return the trial of every part on a CPU."""
    few = (Case(MLP(), digits),)
    return Setting(torch.device("cpu"), seconds=0.0, cases=few, few_cases=few, epochs=2)


def tests(_: Setting) -> None:
    """Run the tests of the rooms that a GPU machine has the packages for."""
    command = [sys.executable, "-m", "pytest", "-q", "tests/models", "tests/evaluation/metrics", "tests/workers"]
    command.append("--ignore=tests/workers/test_tracking.py")  # needs MLflow, and no GPU
    subprocess.run(command, check=True)


def steps(setting: Setting) -> None:
    """Print each architecture's step times beside the plain loop's, its use of the device and its peak memory."""
    for case, (label, options) in itertools.product(setting.cases, OPTIONS.items()):
        print(f"-- {label}")
        attempt(lambda: compare(case, setting.device, setting.batch(case), setting.seconds, **options))  # noqa: B023 (called at once)
        for name, method in METHODS.items():
            attempt(lambda: print_use(case, name, method, setting, options))  # noqa: B023 (called at once)


def print_use(case: Case, name: str, method: Method, setting: Setting, options: dict[str, object]) -> None:
    """Print the FLOPs a second of one network's step and, on a GPU, its peak memory."""
    batch = setting.batch(case)
    state = product_state(case, method, setting.device, batch, **options)
    if not setting.dry:
        torch.cuda.reset_peak_memory_stats()
    found = measure({name: product_steps(state)}, setting.seconds / 4, setting.device)[name]
    flops = training_flops_per_image(state.model, case.split().shape) * batch
    memory = "" if setting.dry else f", peak memory {torch.cuda.max_memory_allocated() / 2**20:,.0f} MiB"
    print(f"  {name}: {1000 * found.seconds:.2f} ms a step, {flops / found.seconds / 1e12:.2f} TFLOP/s{memory}")


def execution(setting: Setting) -> None:
    """Print how the step as it is compares with a compiled model and with one replayed as CUDA graphs."""
    for case, method in itertools.product(setting.few_cases, METHODS.values()):
        eager = product_state(case, method, setting.device, setting.batch(case))
        for label, mode in EXECUTIONS.items():
            if mode is not None:
                attempt(lambda: compare_execution(case, eager, label, mode, setting))  # noqa: B023 (called at once)


def compare_execution(case: Case, eager: TrainingState, label: str, mode: str, setting: Setting) -> None:
    """Print the eager step's time over the compiled one's, and what compiling took."""
    other = product_state(case, eager.trial.method, setting.device, setting.batch(case))
    other.model = torch.compile(other.model, mode=mode)
    started = time.perf_counter()
    stepper = product_steps(other)
    next(stepper)
    compile_seconds = time.perf_counter() - started
    found = measure({"eager": product_steps(eager), label: stepper}, setting.seconds, setting.device)
    print(
        f"{case}, {eager.trial.method.kind}: eager / {label}: clock "
        f"{Ratio.of(found['eager'].clock, found[label].clock)}; the first step took {compile_seconds:.1f} s"
    )


def packing(setting: Setting) -> None:
    """Print what several plain trials cost one after another, over all of them in one batched step (torch.func)."""
    for case, trials in itertools.product(setting.few_cases, PACKS[:1] if setting.dry else PACKS):
        attempt(lambda: compare_packing(case, trials, setting))  # noqa: B023 (called at once)


def compare_packing(case: Case, trials: int, setting: Setting) -> None:
    """Print the ratio for so many trials of one shape, each at its own β and on its own batches."""
    batch = setting.batch(case)
    states = [product_state(case, METHODS[PLAIN], setting.device, batch) for _ in range(trials)]
    steppers = {
        "separate": separate_steps(states),
        "packed": packed_steps([copy.deepcopy(state) for state in states], torch.logspace(-2, 1, trials).tolist()),
    }
    found = measure(steppers, setting.seconds, setting.device)
    print(
        f"{case}: {trials} trials, separate / packed: clock {Ratio.of(found['separate'].clock, found['packed'].clock)}"
    )


def separate_steps(states: list[TrainingState]) -> Iterator[None]:
    """Take one step of each trial, and yield."""
    for _ in zip(*map(product_steps, states), strict=True):
        yield


def packed_steps(states: list[TrainingState], betas: list[float]) -> Iterator[None]:
    """Take one step of all trials at once, and yield: what a pack would do, without its bookkeeping."""
    device = states[0].device
    parameters, buffers = stack_module_state([state.model for state in states])
    skeleton = copy.deepcopy(states[0].model).to("meta")
    optimiser = torch.optim.Adam(parameters.values(), lr=1e-3, fused=True)
    weights = torch.tensor(betas, device=device)
    random = torch.Generator(device).manual_seed(0)

    def loss(
        parameters: dict[str, Tensor], buffers: dict[str, Tensor], beta: Tensor, x: Tensor, noise: list[Tensor]
    ) -> Tensor:
        output = functional_call(skeleton, (parameters, buffers), (x, None, noise))
        mean: Tensor = (output.distortion + beta * output.rates.sum(1)).mean()
        return mean

    gradients = vmap(grad(loss))
    for epoch in itertools.count():
        for indices in zip(*(state.sampler.batches(epoch) for state in states), strict=True):
            x = torch.stack([state.data.batch(each, random) for state, each in zip(states, indices, strict=True)])
            noise = [
                torch.randn(*x.shape[:2], *shape, generator=random, device=device)
                for shape in states[0].model.latent_shapes
            ]
            found = gradients(parameters, buffers, weights, x, noise)
            for name, parameter in parameters.items():
                parameter.grad = found[name]
            optimiser.step()
            yield


def training(setting: Setting) -> None:
    """Train the multi-rate ResNet and one plain one at each β on MNIST, and print what is measured at each."""
    dataset = Digits(train_limit=256) if setting.dry else DIGITS
    if not setting.dry and not mnist_is_there():
        raise FileNotFoundError(f"no MNIST below {DATA.resolve()}; name the folder with MRVAE_DATA")
    data = dataset.load(DATA)
    architecture = MLP() if setting.dry else ResNet()
    methods: list[Method] = [MultiRateVAE(0.01, 10.0), *(BetaVAE(beta) for beta in BETAS)]
    with tempfile.TemporaryDirectory() as folder:
        for method in methods:
            options = Training(epochs=setting.epochs, warmup_epochs=1)
            trial = Trial(dataset, architecture, Objective(), method, options, seed=0)
            evaluation = Evaluation(BETAS).for_method(method)
            store = Store(Path(folder))
            resources = Resources() if setting.dry else Resources(gpus=1.0)
            started = time.perf_counter()
            outcome = run_trial(trial, Context(store, "gpu", evaluation, resources, load_data=lambda _: data))
            if outcome.state != "done":
                raise RuntimeError(f"{method}: {outcome.state}: {outcome.message}")
            print(f"{method}: {setting.epochs} epochs and the evaluation in {time.perf_counter() - started:.1f} s")
            name = f"points/{evaluation.eval_id}.parquet"
            for point in from_parquet(Point, store.trial(trial.trial_id).read(name) or b"", name):
                print(f"  β {beta_text(point.betas)}: rate {point.rate_nats:.2f}, distortion {point.distortion:.2f}")


PARTS: dict[str, Callable[[Setting], None]] = {
    part.__name__: part for part in (tests, steps, execution, packing, training)
}
FAILURES: list[str] = []


def attempt(measurement: Callable[[], None]) -> None:
    """Make one measurement; where it fails, print the trace and go on: a GPU is not had every day."""
    try:
        measurement()
    except Exception:  # noqa: BLE001 (the trace is printed, and the exit code tells)
        FAILURES.append(traceback.format_exc())
        print(FAILURES[-1], flush=True)


def run(arguments: list[str]) -> int:
    """Run the named parts, all where none is named; returns the exit code."""
    wanted = [argument for argument in arguments if argument != "--dry"]
    unknown = [name for name in wanted if name not in PARTS]
    if unknown:
        print(f"no part {unknown[0]!r}; choose from {', '.join(PARTS)}", file=sys.stderr)
        return 2
    if "--dry" not in arguments and not torch.cuda.is_available():
        print("no GPU that torch can use; --dry tries the parts on the CPU", file=sys.stderr)
        return 2
    setting = dry() if "--dry" in arguments else gpu()
    print(f"{'DRY, no measurement: ' * setting.dry}{device_kind(setting.device)}; {describe_setting()}")
    for name in wanted or PARTS:
        print(f"\n== {name} ==", flush=True)
        attempt(lambda: PARTS[name](setting))  # noqa: B023 (called at once)
    print(f"\n{len(FAILURES)} failures" if FAILURES else "\nno failures")
    return 1 if FAILURES else 0


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
