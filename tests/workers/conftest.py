"""One MLflow server for all that forward to it: its start takes seconds of processor time."""

import shutil

import pytest

from mlflow_server import MLflowServer, sqlite_at


@pytest.fixture(scope="session")
def _mlflow_server(tmp_path_factory, empty_mlflow):
    folder = tmp_path_factory.mktemp("server")
    server = MLflowServer(folder, sqlite_at(shutil.copy(empty_mlflow, folder / "server.db")))
    yield server
    server.kill()


@pytest.fixture
def mlflow_server(_mlflow_server):
    """The server, running, whatever the test before did to it."""
    _mlflow_server.ensure_started()
    return _mlflow_server
