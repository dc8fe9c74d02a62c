"""A sweep that another process runs, as its store shows it: the states of its trials and its driver's status."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from evaluation.report.formatting import counted, duration
from orchestrator.errors import ExitCode
from orchestrator.monitoring.driver_status import HEARTBEAT_SECONDS, SILENT_SECONDS, Liveness
from orchestrator.planning.labels import describe
from orchestrator.sweeps.status import count_states, failed_metrics_note, read_statuses
from orchestrator.sweeps.sweep import count_trials, load_sweep
from workers.outcome import TrialState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from rich.console import Console, RenderableType

    from orchestrator.monitoring.driver_status import DriverStatus
    from orchestrator.sweeps.status import TrialStatus
    from workers.store.store import Store

POLL_SECONDS, SUMMARY_SECONDS = 2.0, 30.0
STATUSES_SHARE = 10
"""The trials' states are read again after this multiple of the time that reading them took: rarely on slow stores."""
START_SECONDS = 120.0
"""How long `watch` waits for a driver to appear: a job takes a while to start."""
SHOWN_RUNNING = 16


@dataclass(frozen=True)
class SweepSnapshot:
    """A sweep at one moment. `silent_seconds` have passed since its driver's last heartbeat, as far as can be known.

    `note` says which metrics finished trials lack.
    """

    name: str
    counts: Mapping[str, int]
    names: Mapping[str, str]
    driver: DriverStatus | None
    silent_seconds: float = 0.0
    note: str = ""

    @property
    def finished(self) -> bool:
        """Whether nothing is left to run."""
        return set(self.counts) <= {TrialState.DONE, TrialState.FAILED, TrialState.CANCELLED}

    @property
    def driven(self) -> bool:
        """Whether a driver is alive, as far as can be known."""
        return self.driver is not None and not self.driver.ended and self.silent_seconds < SILENT_SECONDS

    def to_json(self) -> dict[str, Any]:
        """Return the snapshot as plain values, for scripts."""
        silent = {"silent_seconds": round(self.silent_seconds, 1)}
        driver = None if self.driver is None else asdict(self.driver) | silent
        return {"sweep": self.name, "counts": dict(self.counts), "driver": driver}


class Watch:
    """Takes snapshots of a sweep. Raises SweepError where the store has no such sweep."""

    def __init__(
        self,
        store: Store,
        name: str,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._store, self._clock = store, clock
        self._sweep = load_sweep(store, name)
        self._liveness = Liveness(store, name, clock, now)
        self._statuses: dict[str, TrialStatus] = {}
        self._statuses_due = clock()

    def snapshot(self) -> SweepSnapshot:
        """Return the sweep's current state."""
        self._read_statuses()
        driver, silent_seconds = self._liveness.read()
        return SweepSnapshot(
            name=self._sweep.name,
            counts=count_states(self._statuses.values()),
            names={planned.trial_id: describe(planned) for planned in self._sweep.plan.trials},
            driver=driver,
            silent_seconds=silent_seconds,
            note=failed_metrics_note(self._sweep.name, self._statuses.values()),
        )

    def _read_statuses(self) -> None:
        begun = self._clock()
        if begun < self._statuses_due:
            return
        if self._sweep.plan.waiting:
            self._sweep = load_sweep(self._store, self._sweep.name)
        trials = self._sweep.plan.trials
        left = [each for each in trials if not self._is_complete(each.trial_id)]
        read = self._statuses | read_statuses(self._store, left, self._sweep.name)
        self._statuses = {each.trial_id: read[each.trial_id] for each in trials}
        self._statuses_due = begun + STATUSES_SHARE * (self._clock() - begun)

    def _is_complete(self, trial_id: str) -> bool:
        return trial_id in self._statuses and self._statuses[trial_id].complete


def overview(store: Store, name: str) -> SweepSnapshot:
    """Return a sweep's counts and driver, without its trials' names. Raises SweepError where there is no such sweep."""
    driver, silent_seconds = Liveness(store, name).read()
    return SweepSnapshot(name, count_trials(store, name), names={}, driver=driver, silent_seconds=silent_seconds)


def watch(store: Store, name: str, console: Console) -> int:
    """Show a sweep until its driver has ended, and return 0 if all is done: live in a terminal, lines elsewhere."""
    snapshots = _until_ended(Watch(store, name))
    if console.is_terminal:
        with Live(console=console, transient=True) as live:
            for last in snapshots:
                live.update(rendered(last))
    else:
        last = _print_changes(snapshots, console)
    console.print(rendered(last))
    if last.driver is not None and not last.driver.ended and not last.driven:
        console.print(
            f"The driver has not reported for {duration(last.silent_seconds)}; it may be dead or unable to reach the "
            "store. Submit again to resume from the last checkpoints; this is refused while the driver still runs.",
            soft_wrap=True,
        )
    elif not last.finished:
        console.print("No driver is running. Submit again to resume.", soft_wrap=True)
    if last.note:
        console.print(f"{last.note} Details: mrvae-orch status {name}", soft_wrap=True)
    return ExitCode.DONE if set(last.counts) == {TrialState.DONE} and not last.note else ExitCode.FAILED


def rendered(snapshot: SweepSnapshot) -> RenderableType:
    """Return a sweep as lines, with a table of the running trials."""
    lines = [Text(line) for line in (_state(snapshot), _devices(snapshot), _pace(snapshot)) if line]
    running = snapshot.driver.running if snapshot.driver is not None and snapshot.driven else ()
    if not running:
        return Group(*lines)
    table = Table(box=None, header_style="bold")
    for column in ("running", "epoch", "ELBO", "for"):
        table.add_column(column)
    for trial in running[:SHOWN_RUNNING]:
        name = snapshot.names.get(trial.trial_id, trial.trial_id[:8])
        epoch = f"{trial.epoch:.1f}/{trial.epochs}" if trial.epochs else "…"
        elbo = f"{trial.elbo:.2f}" if trial.elbo is not None else ""
        ranks = f", {trial.ranks} ranks" if trial.ranks > 1 else ""
        table.add_row(Text(name + ranks), epoch, elbo, duration(trial.seconds))
    more = [Text(f"… and {len(running) - SHOWN_RUNNING} more")] if len(running) > SHOWN_RUNNING else []
    return Group(*lines, table, *more)


def summary(snapshot: SweepSnapshot) -> Text:
    """Return a sweep as one line."""
    return Text(" · ".join(filter(None, (_state(snapshot), _pace(snapshot)))))


def describe_driver(driver: DriverStatus | None, silent_seconds: float) -> str:
    """Return a driver's state in a few words; its last heartbeat where that is late."""
    if driver is None:
        return "no driver"
    if driver.ended:
        return f"ended {duration(silent_seconds)} ago" + (f": {driver.why}" if driver.why else "")
    where = f" as job {driver.job}" if driver.job else f" on {driver.host}" if driver.host else ""
    late = f", last heartbeat {duration(silent_seconds)} ago" if silent_seconds > 2 * HEARTBEAT_SECONDS else ""
    return f"{driver.state}{where}" + (f" ({driver.why})" if driver.why else "") + late


def _until_ended(watch: Watch) -> Iterator[SweepSnapshot]:
    begun, driven = time.monotonic(), False
    while True:
        snapshot = watch.snapshot()
        yield snapshot
        driven = driven or snapshot.driven
        waited = driven or snapshot.finished or time.monotonic() - begun > START_SECONDS
        if waited and not snapshot.driven:
            return
        time.sleep(POLL_SECONDS)


def _print_changes(snapshots: Iterator[SweepSnapshot], console: Console) -> SweepSnapshot:
    printed, printed_at, snapshot = None, time.monotonic(), None
    for snapshot in snapshots:
        state = (snapshot.counts, snapshot.driver.state if snapshot.driver else None)
        if state != printed or time.monotonic() - printed_at > SUMMARY_SECONDS:
            printed, printed_at = state, time.monotonic()
            console.print(summary(snapshot), soft_wrap=True)
    assert snapshot is not None
    return snapshot


def _state(snapshot: SweepSnapshot) -> str:
    counts = ", ".join(f"{count:,} {state}" for state, count in snapshot.counts.items())
    return f"{snapshot.name}: {counts} · {describe_driver(snapshot.driver, snapshot.silent_seconds)}"


def _devices(snapshot: SweepSnapshot) -> str:
    driver = snapshot.driver
    if driver is None or not snapshot.driven or not driver.nodes:
        return ""
    devices = [f"{kind} {used:g} of {total:g} in use" for kind, (used, total) in driver.devices.items() if total]
    return " · ".join([counted(driver.nodes, "node"), *devices])


def _pace(snapshot: SweepSnapshot) -> str:
    driver = snapshot.driver
    if driver is None:
        return ""
    parts = []
    if snapshot.driven and driver.examples_per_second is not None:
        parts.append(f"{driver.examples_per_second:,.0f} examples/s")
    if driver.elapsed_seconds is not None:
        parts.append(f"{duration(driver.elapsed_seconds)} elapsed")
    if snapshot.driven and driver.seconds_left is not None:
        parts.append(f"about {duration(driver.seconds_left)} left")
    if driver.device_seconds is not None:
        parts.append(f"{duration(driver.device_seconds)} of device time so far")
    for count, noun in ((driver.interruptions, "interruption"), (driver.preemptions, "preemption")):
        parts += [counted(count, noun)] if count else []
    return " · ".join(parts)
