"""Leases: the lock of a folder on an object store, which has neither locks nor a clock that all machines agree on.

A lease is one object, and every change of it is a conditional write, so that of several processes one succeeds. Its
holder renews it. A lease that stays unchanged for its whole length, measured on the observer's clock, has expired.
Why this is safe: docs/decisions/leases-on-object-stores.md.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from workers.store.files import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TypeGuard

LEASE_SECONDS = 60.0
"""How long a lease lasts without a renewal."""
MIN_LEASE_SECONDS = 2.0
HOLDER_SHARE = 0.7
"""A holder that could not renew for this share of the lease stops, well before another process may take over."""
RENEWALS = 6
"""How often a holder renews within the length of a lease."""
RELEASE_TRIES = 3
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def elapsed() -> float:
    """Return seconds on a clock that nobody sets, and that also counts while the machine sleeps."""
    return time.clock_gettime(_CLOCK)


@dataclass(frozen=True)
class Version:
    """One version of an object: its content, and the tag that names it in a conditional write."""

    tag: str
    content: bytes


class VersionedFiles(Protocol):
    """Files with conditional writes. Methods raise StoreError where the object store does not respond."""

    def read_version(self, name: str) -> Version | None:
        """Return a file's current version, or None where there is no such file."""

    def write_over(self, name: str, content: bytes, before: Version | None) -> bool:
        """Write a file if this is its current version (None: there is no such file); return whether it was."""


class Leases:
    """The leases on one lock, as this process observes them."""

    def __init__(self, files: VersionedFiles, name: str, seconds: float, clock: Callable[[], float] = elapsed) -> None:
        self._files = files
        self._name = name
        self._seconds = seconds
        self._clock = clock
        self._seen: tuple[str, float] | None = None
        self.renewal_seen = False
        """Whether the lease was renewed between two observations."""

    @contextlib.contextmanager
    def try_acquire(self) -> Iterator[Lease | None]:
        """Acquire the lock for the block; None where another process has it.

        A dead holder is recognised by observing it: the first call after its death yields None, a call one lease later
        takes over.
        """
        asked = self._clock()
        found = self._files.read_version(self._name)
        lease = Lease(self._files, self._name, self._seconds, self._clock)
        if self._is_held(found, asked) or not lease.take(found):
            yield None
            return
        with lease.renewed():
            yield lease

    def _is_held(self, found: Version | None, asked: float) -> bool:
        if found is None or not found.content:
            self._seen, self.renewal_seen = None, False
            return False
        if self._seen is None or self._seen[0] != found.tag:
            self.renewal_seen = self._seen is not None
            self._seen = found.tag, self._clock()
            return True
        # From the answer that showed this version first to the question that showed it last, so that a pause of this
        # process in between never makes a holder look dead.
        return asked - self._seen[1] < _stated_seconds(found.content)


class Lease:
    """The handle of a lock: a lease that this process renews."""

    def __init__(self, files: VersionedFiles, name: str, seconds: float, clock: Callable[[], float]) -> None:
        self._files = files
        self._name = name
        self._seconds = seconds
        self._clock = clock
        self._token = secrets.token_hex(8)
        self._writes = 0
        self._renewed_at = clock()
        self._was_taken_over = False
        self._renewing = threading.Lock()
        self._ended = threading.Event()

    def lost(self) -> bool:
        """Whether another process may have the lock by now."""
        return self._was_taken_over or self._clock() - self._renewed_at > HOLDER_SHARE * self._seconds

    def confirm(self) -> bool:
        """Renew the lease now, and return whether this process has the lock."""
        while not self.lost():
            if self._renew():
                return True
            time.sleep(self._seconds / RENEWALS**2)
        return False

    def take(self, before: Version | None) -> bool:
        """Write the lease over an expired or released one; return whether no other process was faster."""
        try:
            return self._write(before)
        except StoreError:
            self.release()  # it may have been written all the same
            raise

    def release(self) -> None:
        """Give the lock back; where that fails again and again, the lease expires."""
        for _ in range(RELEASE_TRIES):
            with contextlib.suppress(StoreError):
                found = self._files.read_version(self._name)
                # Emptied and not removed: a removal that arrives late would remove the lease of the next holder.
                if not self._is_own(found) or self._files.write_over(self._name, b"", found):
                    return

    @contextlib.contextmanager
    def renewed(self) -> Iterator[None]:
        """Renew the lease for the block, and release it at its end."""
        thread = threading.Thread(target=self._keep_renewing, name="lease", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            thread.join()
            self.release()

    def _keep_renewing(self) -> None:
        while not (self._ended.wait(self._seconds / RENEWALS) or self.lost()):
            self._renew()

    def _renew(self) -> bool:
        with self._renewing, contextlib.suppress(StoreError):
            started = self._clock()
            found = self._files.read_version(self._name)
            self._was_taken_over = not self._is_own(found)
            if not self._was_taken_over and self._write(found):
                self._renewed_at = started
                return True
        return False

    def _write(self, before: Version | None) -> bool:
        self._writes += 1  # so that each renewal is another version
        who = {"holder": self._token, "write": self._writes, "host": socket.gethostname(), "pid": os.getpid()}
        content = json.dumps({"seconds": self._seconds, **who}).encode()
        return self._files.write_over(self._name, content, before)

    def _is_own(self, found: Version | None) -> TypeGuard[Version]:
        return found is not None and self._token.encode() in found.content


def _stated_seconds(content: bytes) -> float:
    try:
        return float(json.loads(content)["seconds"])
    except (ValueError, KeyError, TypeError):
        return LEASE_SECONDS
