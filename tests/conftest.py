"""Small real trials that several tests train."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import hypothesis
import pytest
import torch
from xdist.scheduler import LoadScopeScheduling

from fault_proxy import FaultProxy
from local_ray import LocalRay
from mlflow_server import MLflowServer, empty_database, sqlite_at
from models.architectures.registry import configure
from object_server import ObjectServer
from paced import Pace, PacedDigits, install
from workers.data.digits import Digits
from workers.data.registry import DATASETS
from workers.running.context import Context
from workers.store.store import Store
from workers.trial import BetaVAE, Evaluation, MultiRateVAE, Objective, Resources, Training, Trial

# No test depends on how fast the machine is.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

TOGETHER = {
    "Ray": (
        *(f"tests/orchestrator/{name}" for name in ("driver/", "execution/", "remote/")),
        *("tests/orchestrator/sweeps/test_selection.py", "tests/orchestrator/cli/test_extending.py"),
        *("tests/chaos/test_chaos.py", "tests/recipes/", "tests/services/", "tests/stores/"),
    ),
    "MLflow": ("tests/orchestrator/tracking/", "tests/chaos/test_losses.py"),
}
"""Files whose tests run one after another where tests run in parallel, by what they start.

Two Rays on two cores starve each other, and a server of MLflow takes seconds to start.
"""


def _group(nodeid: str) -> str:
    path = nodeid.partition("::")[0]
    return next((name for name, paths in TOGETHER.items() if path.startswith(paths)), path)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Run the tests of a group in one process, and else those of a file, so that they share its fixtures."""

    # Not by marks of the tests: pytest-xdist 3.8 does not see them with pytest 9.2.
    class ByGroup(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            return _group(nodeid)

    return ByGroup(config, log)


def pytest_collection_modifyitems(items):
    """Start with the groups, which take longest."""
    items.sort(key=lambda item: _group(item.nodeid) not in TOGETHER)


@pytest.fixture(autouse=True, scope="session")
def settings_folder(tmp_path_factory):
    """A folder of settings other than that of the user who runs the tests."""
    os.environ["XDG_CONFIG_HOME"] = str(tmp_path_factory.mktemp("settings"))


@pytest.fixture(autouse=True)
def one_thread():
    """The same bits come out at the same thread count only."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def local_ray():
    """The Ray of this process."""
    ray = LocalRay()
    yield ray
    ray.end()


@pytest.fixture(scope="session")
def submit_here(local_ray, empty_mlflow):
    """Submit a spec of a command line's folder within this process, on the Ray that all such submits share.

    The store gets a copy of an empty MLflow database, since making one takes seconds.
    """

    def submit(command_line, *arguments, **variables):
        local_ray.start()
        if "--store" not in arguments and not command_line.store.exists():
            command_line.store.mkdir()
            shutil.copy(empty_mlflow, command_line.store / "mlflow.db")
        return command_line.ask("submit", *arguments, **variables)

    return submit


@pytest.fixture(scope="session")
def paced_variables(tmp_path_factory):
    """The variables of a process that knows the data set of `pace`."""
    return install(tmp_path_factory.mktemp("paced"))


@pytest.fixture
def pace(tmp_path, paced_variables, monkeypatch) -> Pace:
    """Trials that a test meets in the middle, and lets come to their end when it has seen enough."""
    monkeypatch.setitem(DATASETS, PacedDigits.name, PacedDigits)
    return Pace(tmp_path / "hurry", paced_variables)


@pytest.fixture(scope="session")
def object_server():
    """A server that speaks S3 on an ephemeral port, with a bucket and with credentials in this process's variables."""
    with pytest.MonkeyPatch.context() as patch, ObjectServer(patch) as server:
        yield server


@pytest.fixture
def bucket_prefix(object_server):
    """A URL of nobody else's prefix, without options."""
    return object_server.new_prefix()


@pytest.fixture
def s3_proxy(object_server):
    """A proxy before the object server, to break what passes."""
    with FaultProxy(object_server.port) as proxy:
        yield proxy


@pytest.fixture(scope="session")
def digits_data():
    return Digits(train_limit=256).load(Path())


@pytest.fixture
def make_trial():
    """Return trials of a small MLP on 256 digits; keywords change the training, `method` the method."""

    def make(method: BetaVAE | MultiRateVAE | None = None, seed: int = 0, **training) -> Trial:
        return Trial(
            dataset=Digits(train_limit=256),
            architecture=configure("mlp", hidden=[32], latent_units=4),
            objective=Objective(),
            method=method or MultiRateVAE(0.01, 10.0),
            training=Training(**{"epochs": 3, "batch_size": 64, **training}),
            seed=seed,
        )

    return make


@pytest.fixture
def make_context(tmp_path, digits_data):
    """Return contexts in a store of the test's own; keywords replace fields."""

    def make(trial: Trial, **fields) -> Context:
        evaluation = fields.pop("evaluation", Evaluation(betas=(0.1, 1.0)))
        defaults = {
            "store": Store(tmp_path / "runs"),
            "sweep": "test",
            "evaluation": evaluation.for_method(trial.method),
            "resources": Resources(),
            "load_data": lambda _: digits_data,
        }
        return Context(**{**defaults, **fields})

    return make


@pytest.fixture(scope="session")
def empty_mlflow(tmp_path_factory) -> Path:
    """A fresh MLflow database: its migrations take seconds, so they run once and the file is copied."""
    return empty_database(tmp_path_factory.mktemp("mlflow"))


@pytest.fixture(scope="session")
def _mlflow_server(tmp_path_factory, empty_mlflow):
    folder = tmp_path_factory.mktemp("server")
    server = MLflowServer(folder, sqlite_at(shutil.copy(empty_mlflow, folder / "server.db")))
    yield server
    server.kill()


@pytest.fixture
def mlflow_server(_mlflow_server) -> MLflowServer:
    """One MLflow server for all tests of one, running, whatever the test before did to it."""
    _mlflow_server.ensure_started()
    return _mlflow_server


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of real datasets; tests that need it are skipped where it is not."""
    root = Path(os.environ.get("MRVAE_DATA", "data"))
    if not (root / "MNIST" / "raw" / "train-images-idx3-ubyte").is_file():
        pytest.skip(f"no MNIST below {root}; set MRVAE_DATA to a folder with MNIST/raw")
    return root
