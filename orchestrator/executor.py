"""Runs planned trials on Ray Tune: the order, the resources, and retries by cause. The only file that imports Ray."""

from __future__ import annotations

import functools
import logging
import os
import secrets
import signal
import tempfile
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

# Set before Ray is imported, which reads them then: its own progress output, loggers and signal handler are not
# wanted, and authentication is.
os.environ |= {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_AUTH_MODE": "token",
}

import ray
from ray import tune
from ray.tune.stopper import Stopper

from orchestrator.worker import Job, WorkerSettings, run_job
from workers.outcome import Outcome, Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from orchestrator.plan import PlannedTrial
    from workers.trial import Resources

INTERRUPTIONS_ALLOWED = 3


class Listener(Protocol):
    """Hears what happens to trials while they run."""

    def started(self, trial_id: str) -> None:
        """A worker has taken up the trial."""

    def progressed(self, trial_id: str, progress: Progress) -> None:
        """The trial has come further."""

    def interrupted(self, trial_id: str, attempts: int) -> None:
        """The trial's worker died; the trial will be tried again."""

    def ended(self, trial_id: str, outcome: Outcome) -> None:
        """The trial's attempt has ended for good."""

    def tick(self) -> None:
        """Time passes; called several times a second."""


class StopRequest:
    """The wish that running trials checkpoint and stop: a file, so that workers everywhere can see it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._requested = threading.Event()
        path.unlink(missing_ok=True)

    def make(self) -> None:
        """Ask all workers to stop."""
        self._requested.set()
        self.path.touch()

    @property
    def made(self) -> bool:
        """Whether stopping was asked for."""
        return self._requested.is_set()


@contextmanager
def local_ray(cpus: int | None = None, gpus: int | None = None) -> Iterator[None]:
    """Hold a Ray of this machine for the block, with token authentication and a token of its own.

    Raises RuntimeError where Ray cannot start.
    """
    os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    ray.init(
        address="local",
        num_cpus=cpus,
        num_gpus=gpus,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        configure_logging=True,
    )
    logging.getLogger("ray.tune").setLevel(logging.ERROR)
    try:
        yield
    finally:
        ray.shutdown()


def is_connected() -> bool:
    """Whether this process holds a Ray."""
    return bool(ray.is_initialized())


def parallel_trials(trials: Sequence[PlannedTrial]) -> float:
    """Return how many of these trials the connected Ray can run at once, by their mean needs."""
    total = ray.cluster_resources()
    needs = [_bundle(planned.resources) for planned in trials]
    limits = []
    for name in ("CPU", "GPU", "memory"):
        mean = sum(need.get(name, 0.0) for need in needs) / len(needs)
        if mean:
            limits.append(float(total.get(name, 0.0)) / mean)
    return min(limits)


def unplaceable(trials: Sequence[PlannedTrial]) -> str | None:
    """Return why some trial can never start on the connected Ray, or None where each fits on some node."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    for planned in trials:
        bundle = _bundle(planned.resources)
        if not any(all(node.get(name, 0) >= amount for name, amount in bundle.items()) for node in nodes):
            wanted = ", ".join(f"{amount:g} {name}" for name, amount in bundle.items())
            return f"a trial wants {wanted}, and no node has that; lower `resources` in the spec"
    return None


def execute(
    trials: Sequence[PlannedTrial], settings: WorkerSettings, listener: Listener, stop: StopRequest
) -> dict[str, Outcome]:
    """Run the trials in their order on the connected Ray; returns each one's outcome.

    A trial whose worker dies is tried again, three times at most; a trial that fails by itself is not. Trials that
    were not begun when a stop was asked for have no outcome.
    """
    jobs = [Job(item.trial_id, item.trial.to_json(), item.evaluation, item.resources, item.along) for item in trials]
    watcher = _Watcher([job.trial_id for job in jobs], listener, stop)
    with tempfile.TemporaryDirectory(prefix="mrvae-orch-") as scratch:
        tuner = tune.Tuner(
            tune.with_resources(_trainable(ray.put(jobs), settings), _resources_of(jobs)),
            param_space={"job": tune.grid_search(list(range(len(jobs))))},
            tune_config=tune.TuneConfig(reuse_actors=True, trial_dirname_creator=lambda trial: trial.trial_id),
            run_config=tune.RunConfig(
                name="sweep",
                storage_path=scratch,
                stop=watcher.stopper,
                callbacks=[watcher],
                failure_config=tune.FailureConfig(max_failures=INTERRUPTIONS_ALLOWED),
                verbose=0,
            ),
        )
        tuner.fit()
    return watcher.outcomes


@contextmanager
def stopping_on_signals(stop: StopRequest, on_first: Callable[[], None]) -> Iterator[None]:
    """Turn the first SIGINT or SIGTERM within the block into a stop request; a second one ends the process."""

    def handle(_number: int, _frame: object) -> None:
        if stop.made:
            raise KeyboardInterrupt
        stop.make()
        on_first()

    numbers = (signal.SIGINT, signal.SIGTERM)
    earlier = [signal.signal(number, handle) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, earlier, strict=True):
            signal.signal(number, handler)


def _bundle(resources: Resources) -> dict[str, float]:
    wanted = {"CPU": resources.cpus, "GPU": resources.gpus, "memory": resources.memory_gib * 2**30}
    return {name: amount for name, amount in wanted.items() if amount > 0}


def _resources_of(jobs: Sequence[Job]) -> Callable[[Mapping[str, Any]], tune.PlacementGroupFactory]:
    return lambda config: tune.PlacementGroupFactory([_bundle(jobs[config["job"]].resources)])


def _trainable(jobs_reference: Any, settings: WorkerSettings) -> Callable[[Mapping[str, Any]], None]:
    def train(config: Mapping[str, Any]) -> None:
        run_job(_fetch(jobs_reference)[config["job"]], settings, tune.report)

    return train


@functools.lru_cache(maxsize=1)
def _fetch(reference: Any) -> list[Job]:
    # A worker is reused by many trials, and reads the list of all of them once.
    return ray.get(reference)


class _NotPickled:
    """Tune pickles its callbacks for `Tuner.restore`, which is not used here: the store is what a run goes on from."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class _Watcher(_NotPickled, tune.Callback):
    """Turns Tune's events into the listener's, and collects outcomes."""

    def __init__(self, trial_ids: Sequence[str], listener: Listener, stop: StopRequest) -> None:
        self.outcomes: dict[str, Outcome] = {}
        self.stopper = _StopWhenIdle(self, stop)
        self.active: set[str] = set()
        self._trial_ids = trial_ids
        self._listener = listener

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:  # noqa: ARG002 (Tune's)
        self.active.add(self._id(trial))
        self._listener.started(self._id(trial))

    def on_trial_result(
        self,
        iteration: int,  # noqa: ARG002 (Tune's)
        trials: list[Any],  # noqa: ARG002 (Tune's)
        trial: Any,
        result: Mapping[str, Any],
        **info: Any,  # noqa: ARG002 (Tune's)
    ) -> None:
        if "state" in result:
            self._end(self._id(trial), Outcome(result["state"], result["message"]))
        elif "epoch" in result:
            progress = Progress(result["epoch"], result["epochs"], result["elbo"])
            self._listener.progressed(self._id(trial), progress)

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:  # noqa: ARG002 (Tune's)
        self._listener.tick()

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:  # noqa: ARG002 (Tune's)
        self.active.discard(self._id(trial))
        self._listener.interrupted(self._id(trial), trial.num_failures)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:  # noqa: ARG002 (Tune's)
        message = f"its worker died {INTERRUPTIONS_ALLOWED + 1} times; submit again to go on from its last checkpoint"
        self._end(self._id(trial), Outcome("interrupted", message))

    def _end(self, trial_id: str, outcome: Outcome) -> None:
        self.active.discard(trial_id)
        self.outcomes[trial_id] = outcome
        self._listener.ended(trial_id, outcome)

    def _id(self, trial: Any) -> str:
        return self._trial_ids[trial.config["job"]]


class _StopWhenIdle(_NotPickled, Stopper):
    """Ends the run once a stop was asked for and the trials that were running then have ended."""

    def __init__(self, watcher: _Watcher, stop: StopRequest) -> None:
        self._watcher = watcher
        self._stop = stop
        self._awaited: set[str] | None = None

    def __call__(self, trial_id: str, result: Mapping[str, Any]) -> bool:  # noqa: ARG002 (Tune's)
        return False

    def stop_all(self) -> bool:
        if not self._stop.made:
            return False
        if self._awaited is None:
            self._awaited = set(self._watcher.active)
        return not self._awaited & self._watcher.active
