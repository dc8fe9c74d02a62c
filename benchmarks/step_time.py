"""How much longer a multi-rate network's training step takes than the plain one's, as a ratio in one run."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING

import torch

from models.architecture import Gating
from models.objectives import OBJECTIVES
from models.registry import ARCHITECTURES

if TYPE_CHECKING:
    from collections.abc import Callable

    from models.architecture import Architecture

SHAPE = (1, 28, 28)
BATCH = 128
PAIRS = {"mlp": 200, "resnet": 30, "conv": 8}


def training_step(architecture: Architecture, gating: Gating | None) -> Callable[[], None]:
    """Return one whole step (noise, forward, backward, Adam) of a fresh model as a function."""
    model = architecture.build(SHAPE, "bernoulli", gating)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    x = torch.rand(BATCH, *SHAPE).round()
    beta = torch.ones(BATCH, 1)

    def step() -> None:
        condition = torch.empty(BATCH, 1).uniform_(-(3**0.5), 3**0.5) if gating else None
        noise = [torch.randn(BATCH, *shape) for shape in model.latent_shapes]
        optimiser.zero_grad()
        OBJECTIVES["beta-elbo"](model(x, condition, noise), beta).mean().backward()
        optimiser.step()

    return step


def seconds_of(step: Callable[[], None]) -> float:
    """Return the CPU seconds of one step: what else the machine does counts less in them."""
    start = time.process_time()
    step()
    return time.process_time() - start


def ratios(architecture: Architecture, pairs: int) -> tuple[list[float], list[float]]:
    """Return the plain seconds and the ratio multi-rate / plain of each pair, the order alternating."""
    plain, multi_rate = training_step(architecture, None), training_step(architecture, Gating())
    for step in (plain, multi_rate) * 2:
        step()
    plain_seconds, found = [], []
    for pair in range(pairs):
        if pair % 2:
            gated, bare = seconds_of(multi_rate), seconds_of(plain)
        else:
            bare, gated = seconds_of(plain), seconds_of(multi_rate)
        plain_seconds.append(bare)
        found.append(gated / bare)
    return plain_seconds, found


def run() -> None:
    """Print the ratio for each architecture, on one CPU thread."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(f"multi-rate / plain training step (batch {BATCH}, 1x28x28, float32, CPU time of 1 thread): want <= 1.05")
    for name, pairs in PAIRS.items():
        plain_seconds, found = ratios(ARCHITECTURES[name](), pairs)
        print(
            f"  {name:8} {statistics.median(found):.3f}  ({min(found):.3f}..{max(found):.3f}, {pairs} pairs; "
            f"plain step {1000 * statistics.median(plain_seconds):.1f} ms)"
        )


if __name__ == "__main__":
    run()
