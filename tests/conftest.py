"""Small real trials that several tests train."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import torch

from fault_proxy import FaultProxy
from mlflow_server import MLflowServer, empty_database, sqlite_at
from models.registry import configure
from object_server import ObjectServer
from workers.data.digits import Digits
from workers.run import Context
from workers.store import Store
from workers.trial import BetaVAE, Evaluation, MultiRateVAE, Objective, Resources, Training, Trial


@pytest.fixture(autouse=True)
def one_thread():
    """The same bits come out at the same thread count only."""
    torch.set_num_threads(1)


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
