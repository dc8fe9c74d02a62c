"""The MLflow client: one parent run for a sweep and one child run for a trial, filled from the trials' metric logs.

It is not part of a training step, and an outage of MLflow loses nothing: a later pass finds the runs by their tags and
uploads what is missing. Metrics keep the timestamps and steps of the log, and MLflow identifies a metric by (run, name,
timestamp, step, value), so it ignores what it already has.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.tracking import database
from orchestrator.tracking.names import KEY_LENGTH, allowed_key, allowed_parameters, allowed_tags
from orchestrator.tracking.state import OWN, ForwardingState
from orchestrator.tracking.sync import KIND_TAG, TRIAL_TAG, MLflowRun, Pass, Refused
from orchestrator.tracking.uri import is_sqlite, reason, redact, sqlite_path
from workers.store.store import Folder, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from orchestrator.tracking.records import ForwardReport, TrackedSweep
    from workers.running.metric_log import Entry

_RUNS_A_PAGE, _IDS_A_QUERY = 500, 100
_LOCK_TRIES, _LOCK_WAIT_SECONDS = 100, 0.1
_PASS_SECONDS, _FIRST_RETRY_SECONDS, _LAST_RETRY_SECONDS = 10.0, 0.5, 30.0
# MLflow's error codes of a request that would fail again; after any other error a retry may succeed.
_REFUSALS = {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE", "INVALID_STATE", "BAD_REQUEST"}


class TrackingUnavailable(Exception):  # noqa: N818 (a state of the server, not a defect: callers continue)
    """MLflow cannot be used now; the message names the URI without credentials, the reason and the next step."""

    def __init__(self, tracking_uri: str, why: str) -> None:
        super().__init__(
            f"MLflow at {redact(tracking_uri)} is not available: {why}. "
            "No data is lost: `mrvae-orch sync` uploads the rest"
        )


def quiet_mlflow() -> None:
    """Set MLflow's environment variables: short time limits, no output, no telemetry. Call it before importing MLflow.

    Its retries are off: they repeat a POST whose answer was lost, and a repeated `create_run` makes a second run. Its
    pool of database connections is off: it would keep writing into a SQLite file that was deleted.
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

    `artifact_root` is the artifact folder of an experiment in a SQLite database; a server has its own. `is_own` says
    that the database is the store's own: a half-made one is replaced, and the artifacts of its runs are
    where the store is.
    `state_folder` contains the lock that admits one pass at a time, and the forwarding state.
    """

    def __init__(
        self,
        tracking_uri: str,
        *,
        artifact_root: Path,
        state_folder: Path | Folder,
        experiment: str = "mrvae-orch",
        is_own: bool = False,
        wait: Callable[[float], object] = time.sleep,
    ) -> None:
        self._tracking_uri = tracking_uri
        self._artifact_root = artifact_root
        self._folder = Folder(state_folder) if isinstance(state_folder, Path) else state_folder
        self._experiment = experiment
        self._is_own = is_own
        self._wait = wait

    def forward(self, sweep: TrackedSweep) -> ForwardReport:
        """Upload what MLflow does not have of the sweep; calling it again adds nothing.

        Raises:
            TrackingUnavailable: MLflow cannot be used; what was uploaded before is recorded.
            StoreError: the state folder cannot be written.
        """
        with self._exclusive():
            state = ForwardingState(self._folder, OWN if self._is_own else self._tracking_uri, self._experiment)
            try:
                self._prepare_database()
                with _reachable(self._tracking_uri) as uri:
                    server = _MLflowServer(uri, self._experiment, self._artifact_root)
                    return Pass(server, state, sweep).run()
            except Refused as refusal:
                raise TrackingUnavailable(self._tracking_uri, str(refusal)) from None
            finally:
                state.save()

    def _prepare_database(self) -> None:
        if not is_sqlite(self._tracking_uri):
            return
        path = sqlite_path(self._tracking_uri)
        try:
            if self._is_own or not path.exists():
                database.make_whole(path, _make_tables, _newest_schema)
            if self._is_own:
                database.settle_artifacts(path, self._artifact_root, self._experiment)
        except Exception as error:  # noqa: BLE001 (SQLite, MLflow and alembic raise what they like)
            raise TrackingUnavailable(self._tracking_uri, reason(error, self._tracking_uri)) from None

    @contextlib.contextmanager
    def _exclusive(self) -> Iterator[None]:
        for _ in range(_LOCK_TRIES):
            with self._folder.try_lock() as is_held:
                if is_held:
                    yield
                    return
            self._wait(_LOCK_WAIT_SECONDS)
        raise TrackingUnavailable(self._tracking_uri, "another process is uploading from this store")


def probe(tracking_uri: str) -> str:
    """Return the version of the server at the URI, as "version 3.17.2". Raises TrackingUnavailable."""
    try:
        with _reachable(tracking_uri) as uri:
            return _MLflowServer(uri, experiment="", artifact_root=Path()).version()
    except Refused as refusal:
        raise TrackingUnavailable(tracking_uri, str(refusal)) from None


def forward_until_ended(
    load_sweep: Callable[[], TrackedSweep],
    forwarder: Forwarder,
    should_stop: Callable[[], bool],
    wait: Callable[[float], object],
) -> ForwardReport | TrackingUnavailable | StoreError:
    """Forward repeatedly until `should_stop`, then once more; return the outcome of that last pass.

    Between passes it calls `wait` with seconds: 10 after a pass; 0.5, doubling to 30, while MLflow or the store cannot
    be reached. `wait` may return early when the sweep ends (`Event.wait`).
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
    """`orchestrator.tracking.sync.Server` for MLflow, within MLflow's limits on names, values and batches."""

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

    def sweep_runs(self) -> list[MLflowRun]:
        return self._search(f"tags.`{KIND_TAG}` = 'sweep'")

    def runs(self, run_ids: Sequence[str]) -> list[MLflowRun]:
        found = []
        for start in range(0, len(run_ids), _IDS_A_QUERY):
            listed = ", ".join(f"'{run_id}'" for run_id in run_ids[start : start + _IDS_A_QUERY])
            found += self._search(f"attributes.run_id IN ({listed})")
        return found

    def trial_runs(self, trial_id: str | None = None) -> dict[str, list[MLflowRun]]:
        by_trial: dict[str, list[MLflowRun]] = defaultdict(list)
        is_asked = f"tags.`{KIND_TAG}` = 'trial'" if trial_id is None else f"tags.`{TRIAL_TAG}` = '{trial_id}'"
        for run in self._search(is_asked):
            by_trial[run.tags.get(TRIAL_TAG, "")].append(run)
        return by_trial

    def create(self, name: str, tags: Mapping[str, str], started_ms: int | None) -> MLflowRun:
        run_name = name[:KEY_LENGTH]
        return _to_run(
            self._call(self._client.create_run, self._experiment_id, started_ms, allowed_tags(tags), run_name)
        )

    def delete(self, run: MLflowRun) -> None:
        self._call(self._client.delete_run, run.run_id)

    def log(
        self, run: MLflowRun, tags: Mapping[str, str], parameters: Mapping[str, str], entries: Sequence[Entry]
    ) -> None:
        from mlflow.entities import Metric, Param, RunTag  # its import takes seconds

        changed = [RunTag(key, value) for key, value in allowed_tags(tags).items() if run.tags.get(key) != value]
        allowed = allowed_parameters(parameters).items()
        missing = [Param(key, value) for key, value in allowed if key not in run.parameters]
        metrics = [
            Metric(allowed_key(name), value, entry.timestamp_ms, entry.step)
            for entry in entries
            for name, value in entry.metrics
        ]
        # The client splits this into batches of sizes that MLflow accepts.
        self._call(self._client.log_batch, run.run_id, metrics=metrics, params=missing, tags=changed)

    def settle(self, run: MLflowRun, name: str, status: str, ended_ms: int | None) -> None:
        if run.name != name[:KEY_LENGTH]:
            self._call(self._client.update_run, run.run_id, name=name[:KEY_LENGTH])
        if status in ("FINISHED", "FAILED"):
            if (run.status, run.ended_ms) != (status, ended_ms or run.ended_ms):
                self._call(self._client.set_terminated, run.run_id, status, ended_ms)
        elif run.status != status:
            self._call(self._client.update_run, run.run_id, status=status)

    def logged_steps(self, run: MLflowRun, name: str) -> set[int]:
        return {metric.step for metric in self._call(self._client.get_metric_history, run.run_id, allowed_key(name))}

    def upload(self, run: MLflowRun, path: Path) -> None:
        self._call(self._client.log_artifact, run.run_id, str(path))

    def _search(self, condition: str) -> list[MLflowRun]:
        found: list[MLflowRun] = []
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
        except Exception as error:  # noqa: BLE001 (MLflow does not catch what requests, SQLAlchemy and drivers raise)
            why = reason(error, self._uri)
            # No chain: its messages contain the URI with its password.
            if getattr(error, "error_code", None) in _REFUSALS:
                raise Refused(why) from None
            raise TrackingUnavailable(self._uri, why) from None


def _reachable(tracking_uri: str) -> contextlib.AbstractContextManager[str]:
    if is_sqlite(tracking_uri):
        return database.mlflow_uri(sqlite_path(tracking_uri))
    return contextlib.nullcontext(tracking_uri)


def _connect(tracking_uri: str) -> Any:
    if is_sqlite(tracking_uri):
        database.probe(sqlite_path(tracking_uri))
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


def _make_tables(tracking_uri: str) -> None:
    quiet_mlflow()
    from mlflow.tracking import MlflowClient  # its import takes seconds

    MlflowClient(tracking_uri, registry_uri=tracking_uri).search_experiments(max_results=1)


def _newest_schema() -> str | None:
    """Return the version of the tables that the installed MLflow makes; None where it does not say."""
    import mlflow.store  # its import takes seconds
    from alembic.script import ScriptDirectory
    from alembic.util import CommandError

    try:
        return ScriptDirectory(str(Path(next(iter(mlflow.store.__path__))) / "db_migrations")).get_current_head()
    except CommandError:
        return None


def _to_run(run: Any) -> MLflowRun:
    return MLflowRun(
        run_id=run.info.run_id,
        name=run.info.run_name,
        status=run.info.status,
        ended_ms=run.info.end_time,
        parameters=run.data.params,
        tags=run.data.tags,
        metrics=len(run.data.metrics),
    )
