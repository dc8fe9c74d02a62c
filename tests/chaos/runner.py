"""Draws faults at random moments of sweeps, and sees that nothing is lost."""

from __future__ import annotations

import random
import time
from collections import Counter
from typing import TYPE_CHECKING

from chaos.faults import FAULTS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from chaos.world import World

LONGEST_PAUSE_SECONDS = 6.0
TRIES = 400
"""How often a fault is tried until something runs that it can hit, twice a second."""
DRAWN_TRIES = 80


class Runner:
    """Breaks a world; `faults` are what may be drawn. The seed decides what and when, as far as timing allows."""

    def __init__(self, world: World, seed: int, faults: Sequence = FAULTS) -> None:
        self.world = world
        self.hits: Counter[str] = Counter()
        self._chance = random.Random(seed)  # noqa: S311 (faults, not secrets)
        self._faults = faults
        self._deck: list[Callable] = []
        self._began = time.monotonic()
        self._sweeps = 0

    def run(self, number: int) -> None:
        """Let so many faults happen, one after another, and then everything come to its end."""
        for _ in range(number):
            self.keep_busy()
            if self.world.lost:
                return
            self.world.wait(self._chance.uniform(0, LONGEST_PAUSE_SECONDS))
            if not self._hit_next():
                self.world.lost.append("no fault that was drawn found anything to hit")
                break
        self.world.finish()

    def keep_busy(self) -> None:
        """Check what has ended, and have one sweep run on the disk and one on the object store."""
        self.world.conclude()
        for on_disk in (True, False):
            if not any(run.is_on_disk == on_disk for run in self.world.runs):
                self._sweeps += 1
                self.world.begin(self._sweeps, on_disk=on_disk)

    def _hit_next(self) -> bool:
        # As from a pack of cards: else those that always find something to hit would be most of them.
        for _ in range(2 * len(self._faults)):
            self._deck = self._deck or self._chance.sample(self._faults, len(self._faults))
            if self.hit(self._deck.pop(), DRAWN_TRIES):
                return True
            if self.world.lost:
                break
        return False

    def hit(self, fault: Callable, counts: int = TRIES) -> bool:
        """Try a fault until it has hit something that ran."""
        for _ in range(counts):
            what = fault(self.world, self._chance)
            if what:
                self.hits[fault.__name__] += 1
                self.world.say(f"{self.hits.total():4d}  {self._seconds():7.1f} s  {fault.__name__}: {what}")
                return True
            self.keep_busy()
            if self.world.lost:
                break
            self.world.wait(0.5)
        return False

    def _seconds(self) -> float:
        return time.monotonic() - self._began
