"""A training step of two ranks on this machine's CPU beside that of one process, and what agreeing costs a step.

The same global batch in both, one thread a process. `python -m benchmarks gang`.
"""

from __future__ import annotations

import socket
import statistics
import subprocess
import sys
import time

import torch

from benchmarks.throughput import CASES, ENDLESS, METHODS, PLAIN, Shaped, describe_shape
from workers.gang import ALONE, Alone, Gang, GangPlace
from workers.outcome import Outcome
from workers.training import TrainingState
from workers.trial import Training, Trial

MEASURED = (0, 2)
"""The fully connected network and the residual one, of `throughput.CASES`."""
CPU = torch.device("cpu")
STEPS, AGREEMENTS = 20, 300


def seconds_a_step(number: int, gang: Alone) -> float:
    """Return the median seconds of a step of a case."""
    case = CASES[number]
    split = case.split()
    training = Training(epochs=ENDLESS, batch_size=64, schedule="constant")
    trial = Trial(Shaped(shape=split.shape), case.architecture, case.objective, METHODS[PLAIN], training, seed=0)
    state = TrainingState(trial, split, CPU, gang)
    found = []
    for indices, _ in zip(state.sampler.batches(0), range(STEPS), strict=False):
        started = time.perf_counter()
        state.advance(indices)
        gang.any(False, False)
        found.append(time.perf_counter() - started)
    return statistics.median(found[2:])


def seconds_an_agreement(gang: Alone) -> float:
    """Return the seconds of what all ranks agree on after a step."""
    started = time.perf_counter()
    for _ in range(AGREEMENTS):
        gang.any(False, False)
    return (time.perf_counter() - started) / AGREEMENTS


def measure(place: GangPlace) -> list[float]:
    """Return the seconds of each case's step and of an agreement, on one rank of two."""
    torch.set_num_threads(1)
    with Gang(place, "benchmark", lambda: False) as gang:
        gang.connect(CPU)
        found = [*(seconds_a_step(number, gang) for number in MEASURED), seconds_an_agreement(gang)]
        if gang.rank == 0:
            gang.end(Outcome("done"))
        else:
            gang.await_outcome()
    return found


def run() -> None:
    """Print the ratios and the cost of an agreement."""
    torch.set_num_threads(1)
    alone = [seconds_a_step(number, ALONE) for number in MEASURED]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with subprocess.Popen([sys.executable, "-m", "benchmarks.gang", address]) as other:
        *shared, agreement = measure(GangPlace(0, 2, address))
        other.wait()
    print("step of 2 ranks / step of 1 process (CPU, batch of 64 in all, 1 thread a process)")
    for number, one, two in zip(MEASURED, alone, shared, strict=True):
        case = CASES[number]
        name = f"{case.architecture.name} {describe_shape(case.split().shape)}"
        print(f"  {name:16} {two / one:.2f}  ({1000 * two:.1f} ms / {1000 * one:.1f} ms)")
    print(f"  an agreement     {1000 * agreement:.2f} ms a step")


if __name__ == "__main__":
    measure(GangPlace(1, 2, sys.argv[1]))
