"""The processes that this one has brought about, also those whose parents are gone."""

from __future__ import annotations

import contextlib
import ctypes
import os
from typing import TYPE_CHECKING, Self

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterable

_PR_SET_CHILD_SUBREAPER = 36


class Descendants:
    """All processes that are started from entering the block on: who loses its parent becomes this process's child."""

    def __enter__(self) -> Self:
        self._before = {process.pid for process in psutil.Process().children(recursive=True)}
        self._adopt(True)
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
        self._adopt(False)

    def of(self, roots: Iterable[int]) -> list[psutil.Process]:
        """Return these processes that are alive, and whatever they have started."""
        found = []
        for pid in roots:
            with contextlib.suppress(psutil.NoSuchProcess):
                root = psutil.Process(pid)
                found += [root, *root.children(recursive=True)]
        return [process for process in found if _lives(process)]

    def orphans(self, roots: Iterable[int]) -> list[psutil.Process]:
        """Return the processes that are neither one of these nor started by one that is alive."""
        expected = self._before | {process.pid for process in self.of(roots)}
        mine = psutil.Process().children(recursive=True)
        return [process for process in mine if process.pid not in expected and _lives(process)]

    def end(self) -> None:
        """Kill -9 all of them."""
        while left := self.orphans([]):
            for process in left:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            psutil.wait_procs(left, timeout=5)

    def _adopt(self, wanted: bool) -> None:
        if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, int(wanted), 0, 0, 0):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _lives(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
