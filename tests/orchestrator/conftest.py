import pytest

from command_line import CommandLine


@pytest.fixture
def command_line(tmp_path) -> CommandLine:
    """The command line in a folder of the test's own."""
    return CommandLine(tmp_path)


@pytest.fixture
def laptop(cluster, tmp_path, monkeypatch):
    """A command line with the token of the module's `cluster`, in a folder with a spec."""
    monkeypatch.chdir(tmp_path)
    command_line = CommandLine(tmp_path, **cluster.token)
    command_line.write_spec()
    return command_line


@pytest.fixture
def token(cluster, monkeypatch):
    """The cluster's token is this process's, whatever Ray did in it before."""
    # Not above: `orchestrator.cluster` has to be what imports Ray first.
    from ray._raylet import AuthenticationTokenLoader, Config

    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    for name, value in cluster.token.items():
        monkeypatch.setenv(name, value)
    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()
    yield
    AuthenticationTokenLoader.instance().reset_cache()
