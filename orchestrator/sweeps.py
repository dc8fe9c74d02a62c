"""Sweeps in the store: the spec that was submitted, the plan it makes, and the lock of whoever runs it."""

from __future__ import annotations

import contextlib
import difflib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.errors import SweepError
from orchestrator.selection import resolve
from orchestrator.spec_file import spec_from_text, spec_yaml
from workers.store import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from orchestrator.plan import Plan, PlannedTrial
    from workers.files import Hold
    from workers.store import Folder, Store

SPEC = "spec.yaml"
SUBMITTED = "submitted.json"
LOCK_POLL_SECONDS = 0.5


class SweepIsRunning(SweepError):  # noqa: N818 (a state of the sweep, not a defect)
    """A sweep is being run by another process."""


@dataclass(frozen=True)
class Sweep:
    """A sweep of the store: its folder, its spec as last submitted and the plan of it."""

    folder: Folder
    plan: Plan
    submitted_at: float

    @property
    def name(self) -> str:
        """The sweep's name."""
        return self.plan.name


def save_sweep(store: Store, planned: Plan, now: float) -> Sweep:
    """Write a sweep's spec to the store and return the sweep; its first submission's time stays."""
    folder = store.sweep(planned.name)
    earlier = folder.read_json(SUBMITTED) or {}
    submitted_at = float(earlier.get("submitted_at", now))
    folder.write(SPEC, spec_yaml(planned.spec).encode())
    folder.write_json(SUBMITTED, {"submitted_at": submitted_at})
    return Sweep(folder, planned, submitted_at)


def load_sweep(store: Store, name: str) -> Sweep:
    """Return a sweep that was submitted to the store. Raises SweepError where there is none of that name."""
    try:
        folder = store.sweep(name)
    except StoreError as error:
        raise SweepError(str(error)) from error
    content = folder.read(SPEC)
    if content is None:
        raise SweepError(_unknown(store, name))
    spec = spec_from_text(content.decode(), folder.place(SPEC))
    submitted = folder.read_json(SUBMITTED) or {}
    return Sweep(folder, resolve(spec, store), float(submitted.get("submitted_at", 0.0)))


def _say_nothing(_: str) -> None:
    return


@contextlib.contextmanager
def sole_driver(store: Store, name: str, tell: Callable[[str], object] = _say_nothing) -> Iterator[Hold]:
    """Hold a sweep for the block. Raises SweepIsRunning where another process runs it.

    On an object store it may take a lease's time to see that whoever ran it is dead; `tell` hears of that.
    """
    folder = store.sweep(name)
    while True:
        with folder.try_lock() as held:
            if held:
                yield held
                return
        if folder.holder_lives():
            raise SweepIsRunning(
                f"sweep {name!r} is being run by another process; follow it with `mrvae-orch status {name}`"
            )
        tell(f"{name}: waiting up to {folder.lock_seconds:g} s to see whether the process that ran it is still there")
        tell = _say_nothing
        time.sleep(LOCK_POLL_SECONDS)


def trials_named(sweep: Sweep, prefixes: Iterable[str]) -> list[PlannedTrial]:
    """Return the trials of a sweep whose ids begin so. Raises SweepError where none does, or more than one."""
    return [_named(sweep, prefix) for prefix in prefixes]


def _named(sweep: Sweep, prefix: str) -> PlannedTrial:
    found = [planned for planned in sweep.plan.trials if planned.trial_id.startswith(prefix)]
    if len(found) == 1:
        return found[0]
    if not found:
        raise SweepError(f"no trial of sweep {sweep.name!r} begins with {prefix!r}; see mrvae-orch status {sweep.name}")
    ids = ", ".join(planned.trial_id[: len(prefix) + 8] for planned in found[:5])
    raise SweepError(f"{len(found)} trials of sweep {sweep.name!r} begin with {prefix!r}: {ids}; write more of the id")


def _unknown(store: Store, name: str) -> str:
    names = store.sweep_names()
    if not names:
        return f"no sweep {name!r}: nothing was submitted to the store {store} yet; name another with --store"
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"it holds {', '.join(names[:10])}"
    return f"no sweep {name!r} in the store {store}; {hint}"
