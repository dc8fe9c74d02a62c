"""Random numbers as a function of (seed, purpose, position), so that a trial can resume.

The state of a generator is never stored, because the draws of any step can be repeated.
"""

from __future__ import annotations

import contextlib
import hashlib
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator


def derive_seed(seed: int, purpose: str, *position: int) -> int:
    """Return a 63-bit seed for one purpose ("order", "noise", …) at one position (epoch, step, …).

    On CPUs torch's generator (a Mersenne Twister) takes the lower 32 bits of it only: of 77,000 positions of one trial,
    two have the same draws with a probability of one half.
    """
    text = ":".join([str(seed), purpose, *map(str, position)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def generator(device: torch.device, seed: int, purpose: str, *position: int) -> torch.Generator:
    """Return a generator on the device, seeded by `derive_seed`."""
    return torch.Generator(device).manual_seed(derive_seed(seed, purpose, *position))


@contextlib.contextmanager
def seeded_initialisation(seed: int) -> Iterator[None]:
    """Seed torch's global generator inside the block, because modules draw their initial weights from it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "initialisation"))
        yield
