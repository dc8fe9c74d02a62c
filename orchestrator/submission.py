"""`submit` and `evaluate`: what is left of a sweep is run, forwarded to MLflow beside it, and reported on."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from orchestrator.errors import SweepError
from orchestrator.forwarding import Forwarding
from orchestrator.inception import check_weights
from orchestrator.ledger import DONE, FAILED, TRAINED, TrialStatus, count_states, read_ledger
from orchestrator.observations import estimate_trials
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
from workers.costs import read_costs
from workers.provenance import code_version
from workers.trial_files import FAILURE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from rich.console import Console

    from orchestrator.plan import Choice, Plan, PlannedTrial
    from orchestrator.spec import SweepSpec
    from orchestrator.sweeps import Sweep
    from workers.outcome import Outcome
    from workers.store import Store

REQUESTS_SECONDS = 2.0
EXIT_DONE, EXIT_FAILED, EXIT_USAGE, EXIT_STOPPED = 0, 1, 2, 130


@dataclass(frozen=True)
class SubmitOptions:
    """How a sweep is run; nothing here changes its numbers."""

    data_root: Path
    tracking_uri: str | None = None
    retry_failed: bool = False
    checkpoint_seconds: float = 30.0
    train: bool = True


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
    with sole_driver(store, spec.name):
        sweep = save_sweep(store, planned, time.time())
        if options.retry_failed:
            _forget_failures(store, sweep)
            sweep = replace(sweep, plan=resolve(spec, store))
        with Forwarding(store, sweep.name, options.tracking_uri) as forwarding:
            sweep, outcomes, stopped = _run_stages(sweep, store, options, console)
            ledger = read_ledger(store, sweep.plan.trials, sweep.name)
            write_sweep_report(store, sweep, ledger, console)
            forwarding.finish(console)
        return _conclude(sweep, ledger, outcomes, console, stopped=stopped, train=options.train)


def _run_stages(
    sweep: Sweep, store: Store, options: SubmitOptions, console: Console
) -> tuple[Sweep, Mapping[str, Outcome], bool]:
    """Run what is left, and then what could not be planned before: the sweep's trials, once a rate is chosen."""
    outcomes: dict[str, Outcome] = {}
    requests = Requests(store, sweep.name)
    with ExitStack() as held:
        while True:
            ledger = read_ledger(store, sweep.plan.trials, sweep.name)
            left = _left(sweep.plan, ledger, options)
            outcomes |= _run(sweep, left, ledger, store, options, console, requests, held)
            resolved = replace(sweep, plan=resolve(sweep.plan.spec, store))
            more = len(resolved.plan.waiting) != len(sweep.plan.waiting) or requests.take_retry()
            if requests.stop.made or not more:
                return resolved, outcomes, requests.stop.made
            for choice in resolved.plan.choices:
                console.print(describe_choice(choice), soft_wrap=True)
            sweep = resolved


def _left(planned: Plan, ledger: Mapping[str, TrialStatus], options: SubmitOptions) -> list[PlannedTrial]:
    unfinished = [each for each in planned.trials if not ledger[each.trial_id].finished]
    return [each for each in unfinished if options.train or ledger[each.trial_id].state == TRAINED]


def _run(
    sweep: Sweep,
    left: Sequence[PlannedTrial],
    ledger: Mapping[str, TrialStatus],
    store: Store,
    options: SubmitOptions,
    console: Console,
    requests: Requests,
    held: ExitStack,
) -> Mapping[str, Outcome]:
    if not left:
        console.print(f"Nothing to run: {_describe_counts(ledger)}.")
        return {}
    estimates = estimate_trials(store, sweep.plan.trials, ledger)
    seconds = {planned.trial_id: estimates[planned.trial_id].device_seconds for planned in left}
    console.print(
        f"{sweep.name}: {len(sweep.plan.trials)} trials ({_describe_counts(ledger)}); running {len(left)}, "
        f"about {duration(sum(seconds.values()))} of device time",
        soft_wrap=True,
    )
    return _execute(sweep, launch_order(left, seconds), seconds, store, options, console, requests, held)


def _execute(
    sweep: Sweep,
    trials: Sequence[PlannedTrial],
    seconds: Mapping[str, float],
    store: Store,
    options: SubmitOptions,
    console: Console,
    requests: Requests,
    held: ExitStack,
) -> Mapping[str, Outcome]:
    # Imported here because Ray takes seconds to import, and only running trials needs it.
    from orchestrator import cluster, executor

    if not cluster.is_connected():
        held.enter_context(cluster.local_ray())  # and kept for the stages to come
    problem = cluster.unplaceable(trials)
    if problem is not None:
        raise SweepError(problem)
    spec = sweep.plan.spec
    view = ProgressView(console, trials, seconds, cluster.parallel_trials(trials))
    costs = (row for planned in sweep.plan.trials for row in read_costs(store.trial(planned.trial_id)))
    used = sum(row.seconds * row.device_count for row in costs)
    terms = executor.Terms(
        stop=requests.stop,
        desk=cluster.desk(),
        sweep=sweep.name,
        priority=spec.priority,
        retries=RetryPolicy(**spec.retries.values()),
        cancelled=lambda: requests.cancelled,
        device_seconds=used,
    )
    settings = WorkerSettings(
        store=str(store.root),
        sweep=sweep.name,
        data_root=str(options.data_root.absolute()),
        checkpoint_seconds=options.checkpoint_seconds,
        provenance={"commit": code_version()},
    )
    pulse = Pulse(store.sweep(sweep.name), trials, cluster.nodes, used=used, seconds_left=view.seconds_left)
    listener = executor.Listeners(view, pulse)
    with (
        pulse.beating(),
        every(REQUESTS_SECONDS, requests.look),
        executor.stopping_on_signals(requests.stop),
        view.shown(),
    ):
        return executor.execute(trials, settings, listener, terms)


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
