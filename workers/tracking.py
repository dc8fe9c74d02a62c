"""MLflow as a view: one parent run a sweep, one child run a trial, fed from the trials' local logs.

Nothing here stands in the path of a training step, and nothing is lost while MLflow is away: a later pass
finds the runs by their tags and sends what is missing. Metrics keep the timestamps and steps of the log, so
MLflow, whose key of a metric is (run, name, timestamp, step, value), ignores what it already has.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workers.store import Folder, StoreError
from workers.tracking_limits import KEY_LENGTH, allowed_key, allowed_parameters, allowed_tags
from workers.tracking_pass import KIND_TAG, TRIAL_TAG, Pass, Refused, Run
from workers.tracking_state import ForwardingState
from workers.tracking_uri import is_sqlite, reason, redact, sqlite_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from workers.metric_log import Entry
    from workers.tracked import ForwardReport, TrackedSweep

_RUNS_A_PAGE, _IDS_A_QUERY = 500, 100
_LOCK_TRIES, _LOCK_WAIT_SECONDS, _SQLITE_WAIT_SECONDS = 100, 0.1, 2.0
_PASS_SECONDS, _FIRST_RETRY_SECONDS, _LAST_RETRY_SECONDS = 10.0, 0.5, 30.0
# MLflow's answers to a request that can never succeed as it is; after any other error it may, later.
_REFUSALS = {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE", "INVALID_STATE", "BAD_REQUEST"}


class TrackingUnavailable(Exception):  # noqa: N818 (a state of the server, not a defect: callers go on)
    """MLflow cannot be used now: the message names the URI without credentials, why, and the next step."""

    def __init__(self, tracking_uri: str, why: str) -> None:
        super().__init__(
            f"MLflow at {redact(tracking_uri)} is not available: {why}. "
            "Nothing is lost: `mrvae-orch sync` forwards what is left"
        )


def quiet_mlflow() -> None:
    """Make MLflow in this process answer or fail within seconds, and print and report nothing.

    Its settings are environment variables, so they are set before it is imported. It gets no retries of its
    own: they repeat a POST whose answer was lost, and a repeated `create_run` makes a second run. It gets no
    pool of database connections: they would go on writing into a SQLite file that was deleted.
    """
    os.environ.update(
        MLFLOW_HTTP_REQUEST_TIMEOUT="10",
        MLFLOW_HTTP_REQUEST_MAX_RETRIES="0",
        MLFLOW_SQLALCHEMYSTORE_POOLCLASS="NullPool",
        MLFLOW_DISABLE_TELEMETRY="true",
        MLFLOW_LOGGING_LEVEL="CRITICAL",
        MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT="true",
        MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR="false",
        GIT_PYTHON_REFRESH="quiet",
    )


class Forwarder:
    """Forwards sweeps to one MLflow experiment.

    `artifact_root` is where the experiment of a SQLite database keeps files; a server decides that itself.
    `state_folder` holds the lock that lets one pass run at a time, and the cache of what was forwarded.
    """

    def __init__(
        self,
        tracking_uri: str,
        *,
        artifact_root: Path,
        state_folder: Path | Folder,
        experiment: str = "mrvae-orch",
        wait: Callable[[float], object] = time.sleep,
    ) -> None:
        self._tracking_uri = tracking_uri
        self._artifact_root = artifact_root
        self._folder = Folder(state_folder) if isinstance(state_folder, Path) else state_folder
        self._experiment = experiment
        self._wait = wait

    def forward(self, sweep: TrackedSweep) -> ForwardReport:
        """Bring MLflow up to date with the sweep; calling it again adds nothing.

        Raises:
            TrackingUnavailable: MLflow is away; what was forwarded until then stays forwarded.
            StoreError: the state folder cannot be written.
        """
        with self._exclusive():
            state = ForwardingState(self._folder, self._tracking_uri, self._experiment)
            try:
                server = _MLflowServer(self._tracking_uri, self._experiment, self._artifact_root)
                return Pass(server, state, sweep).run()
            except Refused as refusal:
                raise TrackingUnavailable(self._tracking_uri, str(refusal)) from None
            finally:
                state.save()

    @contextlib.contextmanager
    def _exclusive(self) -> Iterator[None]:
        for _ in range(_LOCK_TRIES):
            with self._folder.try_lock() as is_held:
                if is_held:
                    yield
                    return
            self._wait(_LOCK_WAIT_SECONDS)
        raise TrackingUnavailable(self._tracking_uri, "another process is forwarding from this store now")


def probe(tracking_uri: str) -> str:
    """Return what answers at the URI, as "version 3.17.2". Raises TrackingUnavailable where nothing usable does."""
    try:
        return _MLflowServer(tracking_uri, experiment="", artifact_root=Path()).version()
    except Refused as refusal:
        raise TrackingUnavailable(tracking_uri, str(refusal)) from None


def follow(
    load_sweep: Callable[[], TrackedSweep],
    forwarder: Forwarder,
    should_stop: Callable[[], bool],
    wait: Callable[[float], object],
) -> ForwardReport | TrackingUnavailable | StoreError:
    """Forward again and again until `should_stop`, then once more; return what came of that last pass.

    Between passes it calls `wait` with seconds: 10 after a pass, 0.5 doubling to 30 while MLflow or the store is away.
    A `wait` that returns early when the sweep ends (`Event.wait`) makes the end prompt.
    """
    retry_seconds = _FIRST_RETRY_SECONDS
    while True:
        is_last = should_stop()
        outcome = _attempt(forwarder, load_sweep)
        if is_last:
            return outcome
        if isinstance(outcome, (TrackingUnavailable, StoreError)):
            wait(retry_seconds)
            retry_seconds = min(2 * retry_seconds, _LAST_RETRY_SECONDS)
        else:
            wait(_PASS_SECONDS)
            retry_seconds = _FIRST_RETRY_SECONDS


def _attempt(
    forwarder: Forwarder, load_sweep: Callable[[], TrackedSweep]
) -> ForwardReport | TrackingUnavailable | StoreError:
    try:
        return forwarder.forward(load_sweep())
    except (TrackingUnavailable, StoreError) as error:
        return error


class _MLflowServer:
    """`workers.tracking_pass.Server` on MLflow, within its limits on names, values and batches."""

    def __init__(self, tracking_uri: str, experiment: str, artifact_root: Path) -> None:
        self._uri = tracking_uri
        self._name = experiment
        self._artifact_root = artifact_root
        self._client = self._call(_connect, tracking_uri)
        self._experiment_id = ""

    def experiment_id(self) -> str:
        found = self._call(self._client.get_experiment_by_name, self._name)
        if found is None:
            location = self._artifact_root.absolute().as_uri() if is_sqlite(self._uri) else None
            self._experiment_id = self._call(self._client.create_experiment, self._name, location)
        elif found.lifecycle_stage == "deleted":
            command = f"`mlflow experiments restore --experiment-id {found.experiment_id}`"
            raise Refused(f"the experiment {self._name!r} was deleted there; restore it with {command}")
        else:
            self._experiment_id = found.experiment_id
        return self._experiment_id

    def version(self) -> str:
        self._call(self._client.search_experiments, max_results=1)
        return f"version {self._call(_ask_version, self._uri)}"

    def sweep_runs(self) -> list[Run]:
        return self._search(f"tags.`{KIND_TAG}` = 'sweep'")

    def runs(self, run_ids: Sequence[str]) -> list[Run]:
        found = []
        for start in range(0, len(run_ids), _IDS_A_QUERY):
            listed = ", ".join(f"'{run_id}'" for run_id in run_ids[start : start + _IDS_A_QUERY])
            found += self._search(f"attributes.run_id IN ({listed})")
        return found

    def trial_runs(self, trial_id: str | None = None) -> dict[str, list[Run]]:
        by_trial: dict[str, list[Run]] = defaultdict(list)
        is_asked = f"tags.`{KIND_TAG}` = 'trial'" if trial_id is None else f"tags.`{TRIAL_TAG}` = '{trial_id}'"
        for run in self._search(is_asked):
            by_trial[run.tags.get(TRIAL_TAG, "")].append(run)
        return by_trial

    def create(self, name: str, tags: Mapping[str, str], started_ms: int | None) -> Run:
        run_name = name[:KEY_LENGTH]
        return _to_run(
            self._call(self._client.create_run, self._experiment_id, started_ms, allowed_tags(tags), run_name)
        )

    def delete(self, run: Run) -> None:
        self._call(self._client.delete_run, run.run_id)

    def log(self, run: Run, tags: Mapping[str, str], parameters: Mapping[str, str], entries: Sequence[Entry]) -> None:
        from mlflow.entities import Metric, Param, RunTag  # its import takes seconds

        changed = [RunTag(key, value) for key, value in allowed_tags(tags).items() if run.tags.get(key) != value]
        allowed = allowed_parameters(parameters).items()
        missing = [Param(key, value) for key, value in allowed if key not in run.parameters]
        metrics = [
            Metric(allowed_key(name), value, entry.timestamp_ms, entry.step)
            for entry in entries
            for name, value in entry.metrics
        ]
        # The client cuts this into batches of the sizes that MLflow takes.
        self._call(self._client.log_batch, run.run_id, metrics=metrics, params=missing, tags=changed)

    def settle(self, run: Run, name: str, status: str, ended_ms: int | None) -> None:
        if run.name != name[:KEY_LENGTH]:
            self._call(self._client.update_run, run.run_id, name=name[:KEY_LENGTH])
        if status in ("FINISHED", "FAILED"):
            if (run.status, run.ended_ms) != (status, ended_ms or run.ended_ms):
                self._call(self._client.set_terminated, run.run_id, status, ended_ms)
        elif run.status != status:
            self._call(self._client.update_run, run.run_id, status=status)

    def logged_steps(self, run: Run, name: str) -> set[int]:
        return {metric.step for metric in self._call(self._client.get_metric_history, run.run_id, allowed_key(name))}

    def upload(self, run: Run, path: Path) -> None:
        self._call(self._client.log_artifact, run.run_id, str(path))

    def _search(self, condition: str) -> list[Run]:
        found: list[Run] = []
        token = None
        while True:
            page = self._call(
                self._client.search_runs,
                [self._experiment_id],
                condition,
                max_results=_RUNS_A_PAGE,
                page_token=token,
            )
            found += [_to_run(run) for run in page]
            token = page.token
            if not token:
                return found

    def _call(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        try:
            return function(*arguments, **options)
        except Exception as error:  # noqa: BLE001 (MLflow lets through what requests, SQLAlchemy and drivers raise)
            why = reason(error, self._uri)
            # The chain is cut: the messages in it hold the URI with its password.
            if getattr(error, "error_code", None) in _REFUSALS:
                raise Refused(why) from None
            raise TrackingUnavailable(self._uri, why) from None


def _connect(tracking_uri: str) -> Any:
    if is_sqlite(tracking_uri):
        _probe_sqlite(sqlite_path(tracking_uri))
    quiet_mlflow()
    from mlflow.tracking import MlflowClient  # its import takes seconds

    return MlflowClient(tracking_uri, registry_uri=tracking_uri)


def _ask_version(tracking_uri: str) -> str:
    import mlflow  # its import takes seconds
    from mlflow.utils.credentials import get_default_host_creds
    from mlflow.utils.rest_utils import http_request

    if not tracking_uri.startswith(("http://", "https://")):
        return str(mlflow.__version__)
    answer = http_request(get_default_host_creds(tracking_uri), "/version", "GET")
    return str(answer.text) if answer.ok else "unknown"


def _probe_sqlite(path: Path) -> None:
    # MLflow itself waits 20 s a call for a locked file, and 100 s for one that cannot be opened.
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.closing(sqlite3.connect(path, timeout=_SQLITE_WAIT_SECONDS)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.rollback()


def _to_run(run: Any) -> Run:
    return Run(
        run_id=run.info.run_id,
        name=run.info.run_name,
        status=run.info.status,
        ended_ms=run.info.end_time,
        parameters=run.data.params,
        tags=run.data.tags,
        metrics=len(run.data.metrics),
    )
