"""`submit` and `evaluate`: run what is left of a sweep, forward it to MLflow meanwhile, and write the report."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from evaluation.report.formatting import duration
from orchestrator.costs.history import budget_of, estimate_trials, used_by
from orchestrator.driver.console_log import logged_console
from orchestrator.driver.heartbeat import Heartbeat
from orchestrator.driver.notify import end_of, notify, why_undeliverable
from orchestrator.driver.progress import ProgressView
from orchestrator.errors import ExitCode, SweepError
from orchestrator.execution.worker import WorkerSettings
from orchestrator.planning.labels import describe
from orchestrator.planning.plan import SELECTION, launch_order
from orchestrator.reports.write import write_sweep_report
from orchestrator.sweeps.control_files import ControlFiles
from orchestrator.sweeps.leftovers import remove_leftovers
from orchestrator.sweeps.resubmission import (
    content_reader,
    earlier_sweep,
    keep_under_another_name,
    refuse,
    unusable_results,
)
from orchestrator.sweeps.selection import describe_choice, resolve
from orchestrator.sweeps.status import TrialStatus, count_states, failed_metrics_note, read_statuses
from orchestrator.sweeps.sweep import resolved_again, save_sweep, sole_driver
from orchestrator.tracking.forward import Forwarding
from workers.data.inception_weights import check_weights
from workers.outcome import Cause, TrialState
from workers.provenance import code_version
from workers.store.failures import forget_failures
from workers.store.periodic import every

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from rich.console import Console

    from orchestrator.costs.budget import Budget
    from orchestrator.planning.plan import LearningRateChoice, Plan, PlannedTrial
    from orchestrator.spec.model import SweepSpec
    from orchestrator.sweeps.sweep import Sweep
    from workers.outcome import Outcome
    from workers.store.store import Store

REQUESTS_SECONDS = 2.0


@dataclass(frozen=True)
class SubmitOptions:
    """How a sweep is run; nothing here changes its numbers.

    `retrain` allows that a sweep of the same name, whose results this release cannot use, is kept under another name.
    `verbose` logs every epoch and checkpoint. `environment` has what `notify` of its spec names; `job` is the id that a
    cluster knows its driver by.
    """

    data_root: Path
    tracking_uri: str | None = None
    retry_failed: bool = False
    checkpoint_seconds: float = 30.0
    train: bool = True
    retrain: bool = False
    verbose: bool = False
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)
    job: str | None = None


def submit(spec: SweepSpec, store: Store, options: SubmitOptions, console: Console) -> int:
    """Run what is left of a sweep, write its report, and return the exit code.

    Raises:
        StoreError, DataError, SweepError: before anything ran, with a message for the user.
    """
    planned = _planned(spec, store, options)
    statuses = read_statuses(store, planned.trials, planned.name)
    retried = [each for each in planned.trials if options.retry_failed and statuses[each.trial_id].can_be_retried]
    for dataset in {each.trial.dataset for each in [*_left(planned, statuses, options), *retried]}:
        dataset.check_present(options.data_root)
    check_weights(
        {metric for each in [*planned.trials, *planned.waiting] for metric in each.evaluation.metrics},
        options.data_root,
    )
    store.check_writable()
    with (
        sole_driver(store, spec.name, console.print) as hold,
        Heartbeat(store.sweep(spec.name), job=options.job).kept_up() as heartbeat,
        logged_console(console, store, spec.name) as logged,
    ):
        _print_if_any(why_undeliverable(spec.notify, options.environment), logged)
        return _drive(planned, store, options, logged, ControlFiles(store, spec.name, hold), heartbeat)


def _planned(spec: SweepSpec, store: Store, options: SubmitOptions) -> Plan:
    """Return the plan. Raises SweepError where it cannot use results of the sweep, unless it may train them again."""
    earlier = earlier_sweep(store, spec.name)
    planned = resolve(spec, store, content_reader(options.data_root, earlier.plan.contents if earlier else ()))
    if earlier and not options.retrain and (unusable := unusable_results(store, earlier, planned)):
        refuse(spec.name, unusable, train=options.train)
    return planned


def _keep_earlier(planned: Plan, store: Store, console: Console) -> None:
    earlier = earlier_sweep(store, planned.name)
    if earlier and (unusable := unusable_results(store, earlier, planned)):
        name = keep_under_another_name(store, earlier)
        console.print(f"{planned.name}: {unusable}; they and their report are now in sweep {name}", soft_wrap=True)


def _drive(
    planned: Plan, store: Store, options: SubmitOptions, console: Console, requests: ControlFiles, heartbeat: Heartbeat
) -> int:
    if options.retrain:
        _keep_earlier(planned, store, console)
    sweep = save_sweep(store, planned, time.time())
    if options.retry_failed:
        _forget_failures(store, sweep)
        sweep = resolved_again(store, sweep)
    with Forwarding(store, sweep.name, options.tracking_uri) as forwarding, ExitStack() as held:
        sweep, outcomes = _Driver(store, options, console, requests, heartbeat, held).run(sweep)
        if requests.lock_lost:
            raise SweepError(
                f"sweep {sweep.name!r} stopped: the store {store} could not be reached for so long that another "
                "process may run the sweep now; submit again to resume from the last checkpoints"
            )
        statuses = read_statuses(store, sweep.plan.trials, sweep.name)
        write_sweep_report(store, sweep, statuses, console)
        forwarding.finish(console)
    stopped = requests.stop.is_set()
    code = _conclude(sweep, statuses, outcomes, console, stopped=stopped, train=options.train)
    if not stopped:
        notification = end_of(sweep, statuses, finished=code == ExitCode.DONE)
        _print_if_any(notify(planned.spec.notify, notification, options.environment), console)
    return code


def _print_if_any(line: str | None, console: Console) -> None:
    if line:
        console.print(line, soft_wrap=True)


@dataclass
class _Driver:
    """Runs the stages of a sweep. `held` keeps the local Ray, if any, for later stages."""

    store: Store
    options: SubmitOptions
    console: Console
    requests: ControlFiles
    heartbeat: Heartbeat
    held: ExitStack

    def run(self, sweep: Sweep) -> tuple[Sweep, Mapping[str, Outcome]]:
        """Run what is left, and then the trials that can be planned once a learning rate is chosen."""
        outcomes: dict[str, Outcome] = {}
        while True:
            outcomes |= self._run_stage(sweep)
            resolved = resolved_again(self.store, sweep)
            more = len(resolved.plan.waiting) != len(sweep.plan.waiting) or self.requests.take_retry()
            if self.requests.stop.is_set() or not more:
                return resolved, outcomes
            for choice in resolved.plan.choices:
                self.console.print(describe_choice(choice), soft_wrap=True)
            sweep = resolved

    def _run_stage(self, sweep: Sweep) -> Mapping[str, Outcome]:
        statuses = read_statuses(self.store, sweep.plan.trials, sweep.name)
        remove_leftovers(self.store, sweep.name, statuses.values())
        left = _left(sweep.plan, statuses, self.options)
        if not left:
            self.console.print(f"Nothing to run: {_describe_counts(statuses)}.")
            return {}
        estimates = estimate_trials(self.store, sweep.plan.trials, statuses)
        seconds = {planned.trial_id: estimates[planned.trial_id].device_seconds for planned in left}
        self.console.print(
            f"{sweep.name}: {len(sweep.plan.trials)} trials ({_describe_counts(statuses)}); running {len(left)}, "
            f"about {duration(sum(seconds.values()))} of device time",
            soft_wrap=True,
        )
        budget = budget_of(self.store, sweep.plan, estimates)
        outcomes = self._execute(sweep, launch_order(left, seconds), seconds, budget)
        if budget is not None:
            statuses = read_statuses(self.store, sweep.plan.trials, sweep.name)
            _print_if_any(budget.conclusion(_left(sweep.plan, statuses, self.options)), self.console)
        return outcomes

    def _execute(
        self,
        sweep: Sweep,
        trials: Sequence[PlannedTrial],
        seconds: Mapping[str, float],
        budget: Budget | None,
    ) -> Mapping[str, Outcome]:
        # Ray takes seconds to import, and only running trials needs it.
        from orchestrator.execution import executor, ray_cluster, scheduler_actor

        if not ray_cluster.is_connected():
            self.held.enter_context(ray_cluster.local_ray())
        problem = ray_cluster.unplaceable(trials)
        if problem is not None:
            raise SweepError(problem)
        view = ProgressView(self.console, sweep.name, trials, self.heartbeat.snapshot)
        used, slots = used_by(self.store, sweep.plan), ray_cluster.parallel_trials(trials)
        options = executor.RunOptions(
            stop=self.requests.stop,
            scheduler=scheduler_actor.scheduler(),
            sweep=sweep.name,
            priority=sweep.plan.spec.priority,
            retries=sweep.plan.spec.retries,
            cancelled=lambda: self.requests.cancelled,
            device_seconds=used,
            may_launch=budget.may_launch if budget else None,
        )
        with (
            self.heartbeat.stage(trials, ray_cluster.nodes, used=used, seconds=seconds, slots=slots),
            every(REQUESTS_SECONDS, self.requests.read),
            executor.stopping_on_signals(self.requests.stop),
            view.shown(),
        ):
            return executor.execute(trials, self._settings(sweep), (self.heartbeat, view), options)

    def _settings(self, sweep: Sweep) -> WorkerSettings:
        return WorkerSettings(
            store=str(self.store),
            sweep=sweep.name,
            data_root=str(self.options.data_root.absolute()),
            checkpoint_seconds=self.options.checkpoint_seconds,
            verbose=self.options.verbose,
            provenance={"commit": code_version()},
        )


def _left(planned: Plan, statuses: Mapping[str, TrialStatus], options: SubmitOptions) -> list[PlannedTrial]:
    unfinished = [each for each in planned.trials if not statuses[each.trial_id].finished]
    return [each for each in unfinished if options.train or statuses[each.trial_id].state == TrialState.TRAINED]


def _forget_failures(store: Store, sweep: Sweep) -> None:
    for planned in sweep.plan.trials:
        forget_failures(store.trial(planned.trial_id), planned.evaluation.eval_id)


def _conclude(
    sweep: Sweep,
    statuses: Mapping[str, TrialStatus],
    outcomes: Mapping[str, Outcome],
    console: Console,
    *,
    stopped: bool,
    train: bool,
) -> ExitCode:
    # Failures of candidate learning rates do not count: they are then not chosen.
    only_tried = {each.trial_id for each in sweep.plan.trials if each.stage == SELECTION}
    counted = [status for status in statuses.values() if status.trial_id not in only_tried]
    failed = [status for status in counted if status.state == TrialState.FAILED]
    interrupted = [outcome for outcome in outcomes.values() if outcome.state == TrialState.INTERRUPTED]
    for message in sorted({outcome.message for outcome in interrupted}):
        console.print(f"interrupted: {message}", soft_wrap=True)
    if failed:
        console.print(
            f"{len(failed)} failed and would fail again; after a change, retry them with `mrvae-orch submit … "
            f"--retry-failed`. Details: mrvae-orch status {sweep.name}",
            soft_wrap=True,
        )
    if note := failed_metrics_note(sweep.name, counted):
        console.print(f"{note} Details: mrvae-orch status {sweep.name}", soft_wrap=True)
    undecided = [choice for choice in sweep.plan.choices if choice.chosen is None]
    if undecided and train and not stopped:
        console.print(_undecided(sweep, undecided, statuses), soft_wrap=True)
    if stopped:
        console.print("Stopped. Run the same command again to resume from the last checkpoints.")
        return ExitCode.STOPPED
    if any(outcome.cause == Cause.STORE for outcome in interrupted):
        return ExitCode.UNUSABLE
    # An evaluation does not concern trials that were never trained.
    asked = [status for status in counted if train or status.manifest is not None]
    finished = all(status.complete for status in asked)
    return ExitCode.DONE if finished and not (undecided and train) else ExitCode.FAILED


def _undecided(sweep: Sweep, undecided: Sequence[LearningRateChoice], statuses: Mapping[str, TrialStatus]) -> str:
    messages = [
        f"{describe(planned)}: {statuses[planned.trial_id].message}"
        for choice in undecided
        for candidate in choice.candidates
        for planned in candidate.trials
        if statuses[planned.trial_id].state == TrialState.FAILED
    ]
    why = "\n".join(["; every rate failed or is unfinished:", *dict.fromkeys(messages)]) if messages else ""
    series = ", ".join(each.series for each in undecided)
    return f"{len(sweep.plan.waiting)} trials wait for a learning rate ({series}){why}"


def _describe_counts(statuses: Mapping[str, TrialStatus]) -> str:
    counts = count_states(statuses.values())
    return ", ".join(f"{count} {state}" for state, count in counts.items())
