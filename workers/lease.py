"""Leases: the lock of a folder on an object store, which has neither locks nor a clock that all agree on.

Whoever wants the lock writes a candidate of its own and lists the candidates; who sees no other living one holds it,
and everybody else withdraws. A candidate lives while its heartbeat changes under the eyes of whoever asks, on that
one's own clock. Why this is safe: docs/decisions/leases-on-object-stores.md.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import secrets
import socket
import threading
import time
from typing import TYPE_CHECKING, Protocol

from workers.files import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

LEASE_SECONDS = 60.0
"""So long a candidate may show no heartbeat before it counts as dead."""
LEAST_LEASE_SECONDS = 2.0
HELD_SHARE = 0.7
"""A holder that could not renew for this share of the lease stops, well before another may take over."""
RENEWALS = 6
"""So often a holder renews within a lease."""
WITHDRAWALS = 3
"""So often a holder tries to give the lock back: else the next one waits for a whole lease."""
COLLISION_SECONDS = 0.3
_CANDIDATE = re.compile(r"[0-9a-f]{16}-(?P<seconds>[0-9.]+)")
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)

Beat = tuple[int, int]
"""When the object store last saw a candidate written, by its clock, and the size: it is only compared for change."""


def elapsed() -> float:
    """Return seconds on a clock that nobody sets, and that goes on while the machine sleeps."""
    return time.clock_gettime(_CLOCK)


class Candidates(Protocol):
    """The objects of one lock. Methods raise StoreError where the object store does not answer."""

    def beats(self) -> Mapping[str, Beat]:
        """Return every candidate's last heartbeat, from one listing."""

    def put(self, name: str, content: bytes) -> None:
        """Write a candidate."""

    def remove(self, name: str) -> None:
        """Remove a candidate if it is there."""


class Leases:
    """The leases on one folder, as this process sees them."""

    def __init__(self, candidates: Candidates, seconds: float, clock: Callable[[], float] = elapsed) -> None:
        self._candidates = candidates
        self._seconds = seconds
        self._clock = clock
        self._seen: dict[str, tuple[Beat, float]] = {}
        self._lively: set[str] = set()

    @property
    def beat_seen(self) -> bool:
        """Whether a candidate that is there has shown a heartbeat between two looks of this process."""
        return bool(self._lively)

    @contextlib.contextmanager
    def try_hold(self) -> Iterator[Lease | None]:
        """Hold the lock for the block; None where another process holds it or wants it at this moment.

        A dead holder is known by watching it: the first call after its death says None, a call one lease later takes
        over.
        """
        lease = None if self._living() else self._stand()
        if lease is None:
            yield None
            return
        with lease.renewed():
            yield lease

    def _stand(self) -> Lease | None:
        lease = Lease(self._candidates, self._seconds, self._clock)
        try:
            lease.beat()
            if self._living() == {lease.name}:
                return lease
        except StoreError:
            lease.withdraw()
            raise
        lease.withdraw()
        # Two that stand at the same moment both withdraw; the next time they come one after the other.
        time.sleep(random.uniform(0, COLLISION_SECONDS))  # noqa: S311 (no secret)
        return None

    def _living(self) -> set[str]:
        """Return the candidates that may be alive, and remove those that are not."""
        asked = self._clock()
        beats = self._candidates.beats()
        answered = self._clock()
        seen = {name: (beat, answered) for name, beat in beats.items()}
        # The same beat as before counts from when it was first seen; from the answer then to the question now, so that
        # a pause of this process in between never makes another look dead.
        seen |= {name: known for name, known in self._seen.items() if beats.get(name) == known[0]}
        changed = {name for name, beat in beats.items() if name in self._seen and self._seen[name][0] != beat}
        self._lively = (self._lively | changed) & beats.keys()
        self._seen = seen
        dead = {name for name, (_, since) in seen.items() if asked - since >= stated_seconds(name)}
        for name in dead:
            self._candidates.remove(name)
        return set(seen) - dead


class Lease:
    """One candidate of this process; the lock, once it is the only living one."""

    def __init__(self, candidates: Candidates, seconds: float, clock: Callable[[], float]) -> None:
        # The name tells how long to wait for a heartbeat, so that processes of other settings agree.
        self.name = f"{secrets.token_hex(8)}-{seconds:g}"
        self._candidates = candidates
        self._seconds = seconds
        self._clock = clock
        self._beats = 0
        self._beaten_at = clock()
        self._gone = False
        self._ended = threading.Event()

    def lost(self) -> bool:
        """Whether another process may hold the lock by now."""
        return self._gone or self._clock() - self._beaten_at > HELD_SHARE * self._seconds

    def beat(self) -> None:
        """Write a new heartbeat. Raises StoreError where that fails."""
        started = self._clock()
        who = {"beats": self._beats, "host": socket.gethostname(), "pid": os.getpid()}
        # Object stores date to the second: another size tells two beats of one second apart.
        self._candidates.put(self.name, json.dumps(who).encode() + b" " * (self._beats % RENEWALS))
        self._beats += 1
        self._beaten_at = started

    def withdraw(self) -> None:
        """Remove the candidate; where that fails again and again, it dies by itself."""
        for _ in range(WITHDRAWALS):
            with contextlib.suppress(StoreError):
                self._candidates.remove(self.name)
                return

    @contextlib.contextmanager
    def renewed(self) -> Iterator[None]:
        """Renew the lease for the block, and withdraw at its end."""
        thread = threading.Thread(target=self._renew, name="lease", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            thread.join()
            self.withdraw()

    def _renew(self) -> None:
        while not self._ended.wait(self._seconds / RENEWALS):
            if self.lost():
                # It is not written again: the candidate of whoever took over would stand beside it.
                self._gone = True
                return
            with contextlib.suppress(StoreError):
                if self.name not in self._candidates.beats():
                    self._gone = True
                    return
                self.beat()


def stated_seconds(name: str) -> float:
    """Return how long a candidate may go without a heartbeat, from its name."""
    found = _CANDIDATE.fullmatch(name)
    return float(found["seconds"]) if found else LEASE_SECONDS
