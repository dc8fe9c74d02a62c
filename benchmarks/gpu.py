"""What a GPU makes of it: step times and memory, plain against multi-rate, and a real training at the end.

    python -m benchmarks.gpu [MNIST_FOLDER]

Needs torch, NumPy, pyarrow and safetensors alone. Without a GPU it says so and exits with 2.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch

from evaluation.records import Point, from_parquet
from models.registry import configure
from workers.accounting import training_flops_per_image
from workers.data.mnist import MNIST
from workers.data.resident import Images
from workers.run import Context, run_trial
from workers.store import Store
from workers.training import TrainingState
from workers.trial import BetaVAE, Evaluation, Method, MultiRateVAE, Objective, Resources, Training, Trial

DEVICE = torch.device("cuda", 0)
METHODS: dict[str, Method] = {"plain": BetaVAE(1.0), "multi-rate": MultiRateVAE(0.01, 10.0)}
ROUNDS, STEPS = 20, 20
OPTIONS = {
    "float32": {},
    "bfloat16": {"precision": "bfloat16"},
    "bfloat16, channels last": {"precision": "bfloat16", "channels_last": True},
}


def run() -> int:
    """Print the tables; returns the exit code."""
    if not torch.cuda.is_available():
        print("no GPU that torch can use", file=sys.stderr)
        return 2
    print(f"{torch.cuda.get_device_name(0)}, torch {torch.__version__}")
    for architecture in ("resnet", "conv"):
        for label, options in OPTIONS.items():
            _compare(architecture, label, options)
    if len(sys.argv) > 1:
        _train(Path(sys.argv[1]))
    return 0


def _compare(architecture: str, label: str, options: dict[str, object]) -> None:
    states = {name: _state(architecture, method, options) for name, method in METHODS.items()}
    memory = {}
    for name, state in states.items():
        torch.cuda.reset_peak_memory_stats()
        _seconds_per_step(state)
        memory[name] = torch.cuda.max_memory_allocated() / 2**20
    seconds: dict[str, list[float]] = {name: [] for name in states}
    for round_ in range(ROUNDS):
        order = list(states) if round_ % 2 else list(reversed(states))
        for name in order:
            seconds[name].append(_seconds_per_step(states[name]))
    ratios = [multi / plain for plain, multi in zip(seconds["plain"], seconds["multi-rate"], strict=True)]
    plain = statistics.median(seconds["plain"])
    flops = training_flops_per_image(states["plain"].model, (1, 28, 28)) * 128
    print(
        f"{architecture}, {label}: plain {1000 * plain:.2f} ms a step ({flops / plain / 1e12:.2f} TFLOP/s), "
        f"multi-rate / plain {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f}), "
        f"peak memory {memory['plain']:.0f} and {memory['multi-rate']:.0f} MiB"
    )


def _state(architecture: str, method: Method, options: dict[str, object]) -> TrainingState:
    training = Training(epochs=10, **options)  # type: ignore[arg-type]  # the options above fit
    trial = Trial(MNIST(), configure(architecture), Objective(), method, training, seed=0)
    pixels = (torch.rand(4096, 1, 28, 28) > 0.5).to(torch.uint8) * 255
    state = TrainingState(trial, Images(pixels.to(DEVICE), None), DEVICE)
    for indices in list(state.sampler.batches(0))[:10]:
        state.advance(indices)
    return state


def _seconds_per_step(state: TrainingState) -> float:
    batches = list(state.sampler.batches(0))[:STEPS]
    torch.cuda.synchronize()
    started = time.perf_counter()
    for indices in batches:
        state.advance(indices)
    torch.cuda.synchronize()
    return (time.perf_counter() - started) / len(batches)


def _train(root: Path) -> None:
    data = MNIST().load(root)
    betas = (0.01, 0.1, 1.0, 10.0)
    methods: list[Method] = [MultiRateVAE(0.01, 10.0), *(BetaVAE(beta) for beta in betas)]
    with tempfile.TemporaryDirectory() as folder:
        for method in methods:
            training = Training(epochs=20, warmup_epochs=1)
            trial = Trial(MNIST(), configure("resnet"), Objective(), method, training, seed=0)
            evaluation = Evaluation(betas).for_method(method)
            store = Store(Path(folder))
            started = time.perf_counter()
            outcome = run_trial(trial, Context(store, "gpu", evaluation, Resources(gpus=1.0), load_data=lambda _: data))
            print(f"{method}: {outcome.state} in {time.perf_counter() - started:.0f} s {outcome.message}")
            name = f"points/{evaluation.eval_id}.parquet"
            for point in from_parquet(Point, store.trial(trial.trial_id).read(name) or b"", name):
                print(f"  β {point.beta:g}: rate {point.rate_nats:.2f}, distortion {point.distortion:.2f}")


if __name__ == "__main__":
    sys.exit(run())
