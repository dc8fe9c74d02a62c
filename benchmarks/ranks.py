"""A training step of two ranks on this machine's CPU beside that of one process, and what agreeing costs a step.

The same global batch in both, one thread a process. `python -m benchmarks ranks`.
"""

from __future__ import annotations

import socket
import statistics
import subprocess
import sys
import time

import torch

from benchmarks.throughput import CASES, ENDLESS, METHODS, PLAIN, Shaped, describe_shape
from workers.distributed.process_group import ProcessGroup
from workers.distributed.ranks import SINGLE_PROCESS, RankInfo, SingleProcess
from workers.outcome import Outcome
from workers.training.state import TrainingState
from workers.trial import Training, Trial

MEASURED = (0, 2)
"""The fully connected network and the residual one, of `throughput.CASES`."""
CPU = torch.device("cpu")
STEPS, AGREEMENTS = 20, 300


def seconds_a_step(number: int, group: SingleProcess) -> float:
    """Return the median seconds of a step of a case."""
    case = CASES[number]
    split = case.split()
    training = Training(epochs=ENDLESS, batch_size=64, schedule="constant")
    trial = Trial(Shaped(shape=split.shape), case.architecture, case.objective, METHODS[PLAIN], training, seed=0)
    state = TrainingState(trial, split, CPU, group)
    found = []
    for indices, _ in zip(state.sampler.batches(0), range(STEPS), strict=False):
        started = time.perf_counter()
        state.advance(indices)
        group.any(False, False)
        found.append(time.perf_counter() - started)
    return statistics.median(found[2:])


def seconds_an_agreement(group: SingleProcess) -> float:
    """Return the seconds of what all ranks agree on after a step."""
    started = time.perf_counter()
    for _ in range(AGREEMENTS):
        group.any(False, False)
    return (time.perf_counter() - started) / AGREEMENTS


def measure(place: RankInfo) -> list[float]:
    """Return the seconds of each case's step and of an agreement, on one rank of two."""
    torch.set_num_threads(1)
    with ProcessGroup(place, "benchmark", lambda: False) as group:
        group.connect(CPU)
        found = [*(seconds_a_step(number, group) for number in MEASURED), seconds_an_agreement(group)]
        if group.rank == 0:
            group.end(Outcome("done"))
        else:
            group.await_outcome()
    return found


def run() -> None:
    """Print the ratios and the cost of an agreement."""
    torch.set_num_threads(1)
    alone = [seconds_a_step(number, SINGLE_PROCESS) for number in MEASURED]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with subprocess.Popen([sys.executable, "-m", "benchmarks.ranks", address]) as other:
        *shared, agreement = measure(RankInfo(0, 2, address))
        other.wait()
    print("step of 2 ranks / step of 1 process (CPU, batch of 64 in all, 1 thread a process)")
    for number, one, two in zip(MEASURED, alone, shared, strict=True):
        case = CASES[number]
        name = f"{case.architecture.name} {describe_shape(case.split().shape)}"
        print(f"  {name:16} {two / one:.2f}  ({1000 * two:.1f} ms / {1000 * one:.1f} ms)")
    print(f"  an agreement     {1000 * agreement:.2f} ms a step")


if __name__ == "__main__":
    measure(RankInfo(1, 2, sys.argv[1]))
