import pytest

from command_line import CommandLine


@pytest.fixture
def command_line(tmp_path) -> CommandLine:
    """The command line in a folder of the test's own."""
    return CommandLine(tmp_path)
