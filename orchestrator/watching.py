"""A sweep that another process runs, seen through its store: its ledger, and what its driver writes."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from orchestrator.drivers import SILENT_SECONDS, Signs
from orchestrator.ledger import CANCELLED, DONE, FAILED, count_states, read_ledger
from orchestrator.progress import describe, duration
from orchestrator.sweeps import load_sweep

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from rich.console import Console, RenderableType

    from orchestrator.drivers import Driver
    from orchestrator.ledger import TrialStatus
    from workers.store import Store

LOOK_SECONDS, PLAIN_SECONDS = 2.0, 30.0
LEDGER_SHARE = 10
"""The ledger is read again after so many times as long as reading it took: a large one on a slow store, rarely."""
APPEARS_SECONDS = 120.0
"""How long a driver is waited for where none runs: a job takes a while to start."""
SHOWN_RUNNING = 16
EXIT_DONE, EXIT_UNFINISHED = 0, 1


@dataclass(frozen=True)
class Sight:
    """A sweep at one moment. `silent` are the seconds since its driver's last sign of life, as far as can be told."""

    name: str
    counts: Mapping[str, int]
    names: Mapping[str, str]
    driver: Driver | None
    silent: float

    @property
    def finished(self) -> bool:
        """Whether nothing is left to run."""
        return set(self.counts) <= {DONE, FAILED, CANCELLED}

    @property
    def driven(self) -> bool:
        """Whether a driver is there, as far as can be told."""
        return self.driver is not None and not self.driver.ended and self.silent < SILENT_SECONDS

    def to_json(self) -> dict[str, Any]:
        """Return the sight as plain values, for scripts."""
        driver = None if self.driver is None else {**asdict(self.driver), "silent_seconds": round(self.silent, 1)}
        return {"sweep": self.name, "counts": dict(self.counts), "driver": driver}


class Watch:
    """Looks at a sweep again and again. Raises SweepError where the store has no such sweep."""

    def __init__(
        self,
        store: Store,
        name: str,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._store, self._clock = store, clock
        self._sweep = load_sweep(store, name)
        self._signs = Signs(store, name, clock, now)
        self._ledger: dict[str, TrialStatus] = {}
        self._ledger_due = clock()

    def look(self) -> Sight:
        """Return the sweep as it stands."""
        self._read_ledger()
        driver, silent = self._signs.look()
        return Sight(
            name=self._sweep.name,
            counts=count_states(self._ledger.values()),
            names={planned.trial_id: describe(planned) for planned in self._sweep.plan.trials},
            driver=driver,
            silent=silent,
        )

    def _read_ledger(self) -> None:
        begun = self._clock()
        if begun < self._ledger_due:
            return
        if self._sweep.plan.waiting:
            self._sweep = load_sweep(self._store, self._sweep.name)
        left = [each for each in self._sweep.plan.trials if not self._is_done(each.trial_id)]
        read = read_ledger(self._store, left, self._sweep.name)
        self._ledger = {
            each.trial_id: read.get(each.trial_id) or self._ledger[each.trial_id] for each in self._sweep.plan.trials
        }
        self._ledger_due = begun + LEDGER_SHARE * (self._clock() - begun)

    def _is_done(self, trial_id: str) -> bool:
        return trial_id in self._ledger and self._ledger[trial_id].state == DONE


def watch(store: Store, name: str, console: Console) -> int:
    """Show a sweep until its driver has ended, and return 0 if all is done: live in a terminal, lines elsewhere."""
    sights = _until_ended(Watch(store, name))
    if console.is_terminal:
        with Live(console=console, refresh_per_second=4, transient=True) as live:
            for sight in sights:
                live.update(rendered(sight))
    else:
        sight = _print_news(sights, console)
    console.print(rendered(sight))
    if sight.driver is not None and not sight.driver.ended and not sight.driven:
        console.print(
            f"No sign of life of its driver for {duration(sight.silent)}: it may be gone, or cut off from the store. "
            "Submitting again goes on from the last checkpoints, and is refused where it still runs.",
            soft_wrap=True,
        )
    elif not sight.finished:
        console.print("Nobody runs it; submitting again goes on with what is left.", soft_wrap=True)
    return EXIT_DONE if set(sight.counts) == {DONE} else EXIT_UNFINISHED


def rendered(sight: Sight) -> RenderableType:
    """Return a sweep as lines, with a table of what runs."""
    lines = [Text(line) for line in (_standing(sight), _room(sight), _pace(sight)) if line]
    running = sight.driver.running if sight.driver is not None and sight.driven else ()
    if not running:
        return Group(*lines)
    table = Table(box=None, header_style="bold")
    for column in ("running", "epoch", "ELBO", "for"):
        table.add_column(column)
    for trial in running[:SHOWN_RUNNING]:
        name = sight.names.get(trial.trial_id, trial.trial_id[:8])
        epoch = f"{trial.epoch:.1f}/{trial.epochs}" if trial.epochs else "…"
        elbo = f"{trial.elbo:.2f}" if trial.elbo is not None else ""
        ranks = f", {trial.ranks} ranks" if trial.ranks > 1 else ""
        table.add_row(Text(name + ranks), epoch, elbo, duration(trial.seconds))
    more = [Text(f"… and {len(running) - SHOWN_RUNNING} more")] if len(running) > SHOWN_RUNNING else []
    return Group(*lines, table, *more)


def describe_driver(driver: Driver | None, silent: float) -> str:
    """Return in a few words how a driver stands."""
    if driver is None:
        return "no driver"
    where = f" as job {driver.job}" if driver.job else f" on {driver.host}" if driver.host else ""
    if driver.ended:
        return f"ended {duration(silent)} ago" + (f": {driver.why}" if driver.why else "")
    why = f" ({driver.why})" if driver.why else ""
    return f"{driver.state}{where}{why}, sign of life {duration(silent)} ago"


def _until_ended(watch: Watch) -> Iterator[Sight]:
    begun, driven = time.monotonic(), False
    while True:
        sight = watch.look()
        yield sight
        driven = driven or sight.driven
        if sight.finished and not sight.driven:
            return
        if not sight.driven and (driven or time.monotonic() - begun > APPEARS_SECONDS):
            return
        time.sleep(LOOK_SECONDS)


def _print_news(sights: Iterator[Sight], console: Console) -> Sight:
    told, told_at, sight = None, time.monotonic(), None
    for sight in sights:
        news = (sight.counts, sight.driver.state if sight.driver else None)
        if news != told or time.monotonic() - told_at > PLAIN_SECONDS:
            told, told_at = news, time.monotonic()
            console.print(" · ".join(filter(None, (_standing(sight), _pace(sight)))), soft_wrap=True)
    assert sight is not None
    return sight


def _standing(sight: Sight) -> str:
    counts = ", ".join(f"{count:,} {state}" for state, count in sight.counts.items())
    return f"{sight.name}: {counts} · {describe_driver(sight.driver, sight.silent)}"


def _room(sight: Sight) -> str:
    if sight.driver is None or not sight.driven or not sight.driver.nodes:
        return ""
    devices = [f"{kind} {used:g} of {total:g} in use" for kind, (used, total) in sight.driver.devices.items() if total]
    nodes = "1 node" if sight.driver.nodes == 1 else f"{sight.driver.nodes} nodes"
    return " · ".join([nodes, *devices])


def _pace(sight: Sight) -> str:
    driver = sight.driver
    if driver is None:
        return ""
    parts = []
    if sight.driven and driver.examples_per_second is not None:
        parts.append(f"{driver.examples_per_second:,.0f} examples/s")
    if sight.driven and driver.seconds_left is not None:
        parts.append(f"about {duration(driver.seconds_left)} left")
    if driver.device_seconds is not None:
        parts.append(f"{duration(driver.device_seconds)} of device time so far")
    for count, what in ((driver.interruptions, "interruptions"), (driver.preemptions, "preemptions")):
        parts += [f"{count} {what}"] if count else []
    return " · ".join(parts)
