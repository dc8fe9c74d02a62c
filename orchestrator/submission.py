"""`submit` and `evaluate`: what is left of a sweep is run, forwarded to MLflow beside it, and reported on."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from orchestrator.driver_log import logged_console
from orchestrator.errors import SweepError
from orchestrator.forwarding import Forwarding
from orchestrator.inception import check_weights
from orchestrator.ledger import DONE, FAILED, TRAINED, TrialStatus, count_states, read_ledger
from orchestrator.listeners import Listeners
from orchestrator.notify import end_of, notify, obstacle
from orchestrator.observations import budget_of, estimate_trials, used_by
from orchestrator.periodic import every
from orchestrator.plan import SELECTION, launch_order
from orchestrator.progress import ProgressView, describe, duration
from orchestrator.pulse import Pulse
from orchestrator.reporting import write_sweep_report
from orchestrator.requests import Requests
from orchestrator.retries import RetryPolicy
from orchestrator.selection import describe_choice, resolve
from orchestrator.sweeps import save_sweep, sole_driver
from orchestrator.worker import WorkerSettings
from workers.provenance import code_version
from workers.trial_files import FAILURE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from rich.console import Console

    from orchestrator.budget import Budget
    from orchestrator.plan import Choice, Plan, PlannedTrial
    from orchestrator.spec import SweepSpec
    from orchestrator.sweeps import Sweep
    from workers.outcome import Outcome
    from workers.store import Store

REQUESTS_SECONDS = 2.0
EXIT_DONE, EXIT_FAILED, EXIT_USAGE, EXIT_STOPPED = 0, 1, 2, 130


@dataclass(frozen=True)
class SubmitOptions:
    """How a sweep is run; nothing here changes its numbers.

    `environment` has what `notify` of its spec names; `job` is the id that a cluster knows its driver by.
    """

    data_root: Path
    tracking_uri: str | None = None
    retry_failed: bool = False
    checkpoint_seconds: float = 30.0
    train: bool = True
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)
    job: str | None = None


def submit(spec: SweepSpec, store: Store, options: SubmitOptions, console: Console) -> int:
    """Run what is left of a sweep, write its report, and return the exit code.

    Raises:
        StoreError, DataError, SweepError: before anything ran, with a message for the user.
    """
    planned = resolve(spec, store)
    for dataset in {
        each.trial.dataset for each in _left(planned, read_ledger(store, planned.trials, planned.name), options)
    }:
        dataset.check_present(options.data_root)
    check_weights((each.evaluation for each in [*planned.trials, *planned.waiting]), options.data_root)
    store.check_writable()
    with (
        sole_driver(store, spec.name, console.print) as hold,
        Pulse(store.sweep(spec.name), job=options.job).beating() as pulse,
        logged_console(console, store, spec.name) as logged,
    ):
        _print_if_any(obstacle(spec.notify, options.environment), logged)
        return _drive(planned, store, options, logged, Requests(store, spec.name, hold), pulse)


def _drive(
    planned: Plan, store: Store, options: SubmitOptions, console: Console, requests: Requests, pulse: Pulse
) -> int:
    sweep = save_sweep(store, planned, time.time())
    if options.retry_failed:
        _forget_failures(store, sweep)
        sweep = replace(sweep, plan=resolve(planned.spec, store))
    with Forwarding(store, sweep.name, options.tracking_uri) as forwarding, ExitStack() as held:
        sweep, outcomes = _Driver(store, options, console, requests, pulse, held).run(sweep)
        if requests.hold_lost:
            raise SweepError(
                f"sweep {sweep.name!r}: the store {store} was away for so long that another process may run the "
                "sweep by now; what ran was stopped, and submitting again goes on from the last checkpoints"
            )
        ledger = read_ledger(store, sweep.plan.trials, sweep.name)
        write_sweep_report(store, sweep, ledger, console)
        forwarding.finish(console)
    stopped = requests.stop.made
    code = _conclude(sweep, ledger, outcomes, console, stopped=stopped, train=options.train)
    if not stopped:
        news = end_of(sweep, ledger, finished=code == EXIT_DONE)
        _print_if_any(notify(planned.spec.notify, news, options.environment), console)
    return code


def _print_if_any(line: str | None, console: Console) -> None:
    if line:
        console.print(line, soft_wrap=True)


@dataclass
class _Driver:
    """Whoever runs a sweep: what it has at hand for each stage of it. `held` keeps its Ray for the stages to come."""

    store: Store
    options: SubmitOptions
    console: Console
    requests: Requests
    pulse: Pulse
    held: ExitStack

    def run(self, sweep: Sweep) -> tuple[Sweep, Mapping[str, Outcome]]:
        """Run what is left, and then what could not be planned before: the sweep's trials, once a rate is chosen."""
        outcomes: dict[str, Outcome] = {}
        while True:
            outcomes |= self._run_stage(sweep)
            resolved = replace(sweep, plan=resolve(sweep.plan.spec, self.store))
            more = len(resolved.plan.waiting) != len(sweep.plan.waiting) or self.requests.take_retry()
            if self.requests.stop.made or not more:
                return resolved, outcomes
            for choice in resolved.plan.choices:
                self.console.print(describe_choice(choice), soft_wrap=True)
            sweep = resolved

    def _run_stage(self, sweep: Sweep) -> Mapping[str, Outcome]:
        ledger = read_ledger(self.store, sweep.plan.trials, sweep.name)
        left = _left(sweep.plan, ledger, self.options)
        if not left:
            self.console.print(f"Nothing to run: {_describe_counts(ledger)}.")
            return {}
        estimates = estimate_trials(self.store, sweep.plan.trials, ledger)
        seconds = {planned.trial_id: estimates[planned.trial_id].device_seconds for planned in left}
        self.console.print(
            f"{sweep.name}: {len(sweep.plan.trials)} trials ({_describe_counts(ledger)}); running {len(left)}, "
            f"about {duration(sum(seconds.values()))} of device time",
            soft_wrap=True,
        )
        budget = budget_of(self.store, sweep.plan, estimates)
        outcomes = self._execute(sweep, launch_order(left, seconds), seconds, budget)
        if budget is not None:
            ledger = read_ledger(self.store, sweep.plan.trials, sweep.name)
            _print_if_any(budget.conclusion(_left(sweep.plan, ledger, self.options)), self.console)
        return outcomes

    def _execute(
        self,
        sweep: Sweep,
        trials: Sequence[PlannedTrial],
        seconds: Mapping[str, float],
        budget: Budget | None,
    ) -> Mapping[str, Outcome]:
        # Imported here because Ray takes seconds to import, and only running trials needs it.
        from orchestrator import cluster, executor

        if not cluster.is_connected():
            self.held.enter_context(cluster.local_ray())
        problem = cluster.unplaceable(trials)
        if problem is not None:
            raise SweepError(problem)
        view = ProgressView(self.console, trials, seconds, cluster.parallel_trials(trials))
        used = used_by(self.store, sweep.plan)
        terms = executor.Terms(
            stop=self.requests.stop,
            desk=cluster.desk(),
            sweep=sweep.name,
            priority=sweep.plan.spec.priority,
            retries=RetryPolicy(**sweep.plan.spec.retries.values()),
            cancelled=lambda: self.requests.cancelled,
            device_seconds=used,
            **({"may_launch": budget.may_launch} if budget else {}),
        )
        with (
            self.pulse.stage(trials, cluster.nodes, used=used, seconds_left=view.seconds_left),
            every(REQUESTS_SECONDS, self.requests.look),
            executor.stopping_on_signals(self.requests.stop),
            view.shown(),
        ):
            return executor.execute(trials, self._settings(sweep), Listeners(view, self.pulse), terms)

    def _settings(self, sweep: Sweep) -> WorkerSettings:
        return WorkerSettings(
            store=str(self.store),
            sweep=sweep.name,
            data_root=str(self.options.data_root.absolute()),
            checkpoint_seconds=self.options.checkpoint_seconds,
            provenance={"commit": code_version()},
        )


def _left(planned: Plan, ledger: Mapping[str, TrialStatus], options: SubmitOptions) -> list[PlannedTrial]:
    unfinished = [each for each in planned.trials if not ledger[each.trial_id].finished]
    return [each for each in unfinished if options.train or ledger[each.trial_id].state == TRAINED]


def _forget_failures(store: Store, sweep: Sweep) -> None:
    for planned in sweep.plan.trials:
        store.trial(planned.trial_id).remove(FAILURE)


def _conclude(
    sweep: Sweep,
    ledger: Mapping[str, TrialStatus],
    outcomes: Mapping[str, Outcome],
    console: Console,
    *,
    stopped: bool,
    train: bool,
) -> int:
    # A learning rate that is too high fails, and is then not chosen: that is what the selection is for.
    only_tried = {each.trial_id for each in sweep.plan.trials if each.stage == SELECTION}
    failed = [status for status in ledger.values() if status.state == FAILED and status.trial_id not in only_tried]
    interruptions = sorted({outcome.message for outcome in outcomes.values() if outcome.state == "interrupted"})
    for message in interruptions:
        console.print(f"interrupted: {message}", soft_wrap=True)
    if failed:
        console.print(
            f"{len(failed)} failed and would fail again; after a change, `mrvae-orch submit … --retry-failed` tries "
            f"them anew. Details: mrvae-orch status {sweep.name}",
            soft_wrap=True,
        )
    undecided = [choice for choice in sweep.plan.choices if choice.chosen is None]
    if undecided and train and not stopped:
        console.print(_undecided(sweep, undecided, ledger), soft_wrap=True)
    if stopped:
        console.print("Stopped; the same command goes on from the last checkpoints.")
        return EXIT_STOPPED
    if any(message.startswith("store:") for message in interruptions):
        return EXIT_USAGE
    # An evaluation asks nothing of trials that were never trained.
    asked = [status for status in ledger.values() if train or status.manifest is not None]
    finished = all(status.state == DONE or status.trial_id in only_tried for status in asked)
    return EXIT_DONE if finished and not (undecided and train) else EXIT_FAILED


def _undecided(sweep: Sweep, undecided: Sequence[Choice], ledger: Mapping[str, TrialStatus]) -> str:
    messages = [
        f"{describe(planned)}: {ledger[planned.trial_id].message}"
        for choice in undecided
        for candidate in choice.candidates
        for planned in candidate.trials
        if ledger[planned.trial_id].state == FAILED
    ]
    why = "\n".join(["; every rate failed or is still to finish:", *dict.fromkeys(messages)]) if messages else ""
    series = ", ".join(each.series for each in undecided)
    return f"{len(sweep.plan.waiting)} trials wait for a learning rate ({series}){why}"


def _describe_counts(ledger: Mapping[str, TrialStatus]) -> str:
    counts = count_states(ledger.values())
    return ", ".join(f"{count} {state}" for state, count in counts.items())
