"""Sweeps in the store: the submitted spec, its plan, and the lock of the driver."""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator.errors import SweepError, hint
from orchestrator.sweeps.status import TrialKey, count_states, key_of, read_statuses_by_key
from workers.numerics import FIRST_NUMERICS, NUMERICS
from workers.store.json_files import hashed, is_number, is_whole
from workers.store.store import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from orchestrator.planning.plan import Plan, PlannedTrial
    from orchestrator.spec.model import SweepSpec
    from workers.store.files import LockHandle
    from workers.store.store import Folder, Store

SPEC = "spec.yaml"
SUBMITTED = "submitted.json"
PLANNED = "planned.json"
PLAN_VERSION = 1
LOCK_POLL_SECONDS = 0.5


class SweepIsRunning(SweepError):  # noqa: N818 (a state of the sweep, not a defect)
    """A sweep is being run by another process."""


class PlanDamaged(SweepError):  # noqa: N818 (a state of the sweep, not a defect)
    """The plan of a sweep in the store is not as it was written."""


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
    """Write a sweep's spec and plan to the store and return the sweep, which keeps the time of its first submission."""
    from orchestrator.spec.file import spec_yaml
    from orchestrator.sweeps.remembered import to_record

    folder = store.sweep(planned.name)
    earlier = folder.read_record(SUBMITTED).number("submitted_at")
    submitted_at = now if earlier is None else earlier
    spec = spec_yaml(planned.spec).encode()
    # The plan first: one without its spec is not used.
    record = {"version": PLAN_VERSION, "spec_sha256": hashlib.sha256(spec).hexdigest(), **to_record(planned)}
    folder.write(PLANNED, json.dumps(hashed(record), ensure_ascii=False).encode())
    folder.write(SPEC, spec)
    folder.write_json(SUBMITTED, {"submitted_at": submitted_at})
    return Sweep(folder, planned, submitted_at)


def load_sweep(store: Store, name: str) -> Sweep:
    """Return a submitted sweep, with the trials that were planned then.

    Raises SweepError if the store has none of that name, or this release cannot read its trials, SpecError if its spec
    is damaged.
    """
    # Imported here because pydantic and the sections of a spec take longer to import than `list` and `status` run.
    from orchestrator.spec.file import stored_spec

    folder, content = _stored_spec(store, name)
    spec = stored_spec(content, folder.place(SPEC))
    submitted_at = folder.read_record(SUBMITTED).number("submitted_at") or 0.0
    return Sweep(folder, _plan_of(store, folder, spec, content), submitted_at)


def _plan_of(store: Store, folder: Folder, spec: SweepSpec, content: bytes) -> Plan:
    from orchestrator.sweeps.remembered import from_record
    from orchestrator.sweeps.selection import resolve

    record = _plan_record(folder, content)
    if record is None:
        # Of a release that kept no plan, or the spec was changed in the store.
        return resolve(spec, store, numerics=FIRST_NUMERICS, at_sweep_betas=False)
    planned = from_record(record, spec, folder.place(PLANNED))
    undecided = any(choice.chosen is None for choice in planned.choices)
    # Results that came since the plan was written may decide.
    return _resolved(planned, store) if undecided and planned.numerics == NUMERICS else planned


def resolved_again(store: Store, sweep: Sweep) -> Sweep:
    """Return a sweep with the learning rates that follow from the current results, and write a changed plan."""
    planned = _resolved(sweep.plan, store)
    return sweep if planned == sweep.plan else save_sweep(store, planned, sweep.submitted_at)


def _resolved(planned: Plan, store: Store) -> Plan:
    from orchestrator.sweeps.selection import resolve

    known = dict(planned.contents)
    return resolve(planned.spec, store, lambda dataset: known.get(dataset, dataset))


def count_trials(store: Store, name: str) -> dict[str, int]:
    """Return the number of trials of a sweep in each state. Raises SweepError if there is no such sweep.

    The ids in its plan are used, so that no trial is made, unless learning rates are still to be chosen.
    """
    folder, spec = _stored_spec(store, name)
    record = _plan_record(folder, spec)
    keys = None if record is None else _keys_of(record)
    if keys is None:
        keys = [key_of(planned) for planned in load_sweep(store, name).plan.trials]
    return count_states(read_statuses_by_key(store, keys, name).values())


def _keys_of(record: Mapping[str, Any]) -> list[TrialKey] | None:
    """Return the ids of the trials of a plan, or None where learning rates are still to be chosen."""
    try:
        return None if record["waiting"] else [TrialKey(row["trial_id"], row["eval_id"]) for row in record["trials"]]
    except (KeyError, TypeError):
        return None  # `load_sweep` says what is wrong


def _plan_record(folder: Folder, spec: bytes) -> dict[str, Any] | None:
    """Return the plan in a sweep's folder as `save_sweep` wrote it, or None where it is not of that spec.

    Raises PlanDamaged where it is not as it was written, SweepError where a newer release wrote it.
    """
    if not folder.exists(PLANNED):
        return None
    record = folder.read_record(PLANNED)
    version = record.get("version")
    if is_number(version) and version != PLAN_VERSION:
        raise SweepError(
            f"{folder.place(PLANNED)} was written by another release (format {version}, this release reads "
            f"format {PLAN_VERSION}); use that release for this sweep, or submit its spec under another name"
        )
    if not is_whole(record):
        raise PlanDamaged(
            f"{folder.place(PLANNED)} is damaged: it is not as it was written. Submit the spec again, which plans the "
            "sweep again; finished trials are kept"
        )
    return record if record["spec_sha256"] == hashlib.sha256(spec).hexdigest() else None


def _stored_spec(store: Store, name: str) -> tuple[Folder, bytes]:
    try:
        folder = store.sweep(name)
    except StoreError as error:
        raise SweepError(str(error)) from error
    content = folder.read(SPEC)
    if content is None:
        raise SweepError(_unknown(store, name))
    return folder, content


def _say_nothing(_: str) -> None:
    return


@contextlib.contextmanager
def sole_driver(store: Store, name: str, say: Callable[[str], object] = _say_nothing) -> Iterator[LockHandle]:
    """Lock a sweep for the block. Raises SweepIsRunning if another process runs it.

    On an object store the lock of a dead driver expires only after some time; `say` gets a line about the wait.
    """
    folder = store.sweep(name)
    while True:
        with folder.try_lock() as lock:
            if lock:
                yield lock
                return
        if folder.holder_lives():
            raise SweepIsRunning(
                f"sweep {name!r} is being run by another process; follow it with `mrvae-orch watch {name}`"
            )
        say(f"{name}: waiting up to {folder.lock_seconds:g} s for the lock of the last driver, which may be dead")
        say = _say_nothing
        time.sleep(LOCK_POLL_SECONDS)


def trials_named(sweep: Sweep, prefixes: Iterable[str]) -> list[PlannedTrial]:
    """Return the trial that each prefix of an id names. Raises SweepError if it fits no trial, or several."""
    return [_named(sweep, prefix) for prefix in prefixes]


def _named(sweep: Sweep, prefix: str) -> PlannedTrial:
    found = [planned for planned in sweep.plan.trials if planned.trial_id.startswith(prefix)]
    if len(found) == 1:
        return found[0]
    if not found:
        raise SweepError(f"no trial of sweep {sweep.name!r} begins with {prefix!r}; see mrvae-orch status {sweep.name}")
    ids = ", ".join(planned.trial_id[: len(prefix) + 8] for planned in found[:5])
    raise SweepError(f"{len(found)} trials of sweep {sweep.name!r} begin with {prefix!r}: {ids}; give more of the id")


def _unknown(store: Store, name: str) -> str:
    names = store.sweep_names()
    if not names:
        return f"no sweep {name!r}: nothing was submitted to the store {store} yet; name another with --store"
    return f"no sweep {name!r} in the store {store}; {hint(name, names)}"


def report_folder(sweep: Sweep) -> Folder:
    """Return the default folder of a sweep's report."""
    return sweep.folder.inside("report")
