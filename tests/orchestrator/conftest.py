import pytest

from command_line import CommandLine
from local_ray import forget_token
from ray_cluster import RayCluster


@pytest.fixture
def command_line(tmp_path) -> CommandLine:
    """The command line in a folder of the test's own."""
    return CommandLine(tmp_path)


@pytest.fixture(scope="session")
def cluster(paced_variables):
    """One cluster for all tests that send sweeps to one: it takes a while to start. It has two cores."""
    started = RayCluster(**paced_variables)
    yield started
    started.end()


@pytest.fixture
def laptop(cluster, tmp_path, monkeypatch):
    """A command line with the token of the `cluster`, in a folder with a spec."""
    monkeypatch.chdir(tmp_path)
    command_line = CommandLine(tmp_path, **cluster.token)
    command_line.write_spec()
    return command_line


@pytest.fixture
def token(cluster, local_ray, monkeypatch):
    """The cluster's token is this process's, whatever Ray did in it before."""
    local_ray.end()
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    for name, value in cluster.token.items():
        monkeypatch.setenv(name, value)
    forget_token()
    yield
    forget_token()
