"""docs/cluster.md as a new user follows it: its commands, in its order, in one shell."""

import contextlib
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import psutil
import pytest

from command_line import SPEC, kill_all
from ray_cluster import EXECUTABLES, clean_environment, free_port

pytestmark = pytest.mark.slow
REPOSITORY = Path(__file__).parents[3]
PAGE = (REPOSITORY / "docs/cluster.md").read_text()
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def shell():
    """What the page's commands gave: a shell that ends at the first one that fails, in a folder like a checkout.

    Its ports and its sweep are other ones: a machine has one port 8265, and the quickstart takes a while.
    """
    folder = Path(tempfile.mkdtemp(prefix="page-", dir="/tmp"))
    (folder / "recipes").mkdir()
    (folder / "recipes/quickstart.yaml").write_text(SPEC.replace("name: tiny", "name: quickstart"))
    (folder / ".venv").symlink_to(EXECUTABLES.parent)
    ports = {"6379": str(free_port()), "8265": str(free_port())}
    commands = re.sub("|".join(ports), lambda found: ports[found[0]], "\n".join(BLOCKS))
    process = subprocess.Popen(
        ["bash", "-ec", commands],
        cwd=folder,
        env={**clean_environment(), "HOME": str(folder), "RAY_TMPDIR": str(folder), "RAY_USAGE_STATS_ENABLED": "0"},
        stdout=(folder / "printed.txt").open("wb"),
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        # One that does not end shows how far it came.
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=400)
        yield folder, process.poll(), (folder / "printed.txt").read_text()
    finally:
        if process.poll() is None:
            kill_all(process)
        # What is killed may have started something meanwhile.
        while left := [each for each in psutil.process_iter() if _belongs(each, folder)]:
            for each in left:
                with contextlib.suppress(psutil.NoSuchProcess):
                    each.kill()
            psutil.wait_procs(left, timeout=30)
        shutil.rmtree(folder, ignore_errors=True)


def _belongs(process: psutil.Process, folder: Path) -> bool:
    try:
        return process.environ().get("RAY_TMPDIR") == str(folder)
    except psutil.Error:
        return False


def test_the_commands_of_the_page_end_well(shell):
    """A cluster of two nodes, a sweep submitted twice, a node lost, a stop, and the rest of it done."""
    folder, code, printed = shell
    assert code == 0, printed[-4000:] + (folder / "head.log").read_text()[-1000:]
    assert "accepts jobs with the token that is set here" in printed
    assert "quickstart: submitted to http://127.0.0.1:" in printed
    assert "already running as job quickstart-" in printed
    assert "quickstart: 3 done" in printed
    assert (folder / "report/report.html").is_file()


def test_the_token_is_nobody_elses(shell):
    """It lies in a file that others cannot read, and stands in nothing that was printed."""
    folder, _, printed = shell
    token = folder / ".ray/auth_token"
    assert token.stat().st_mode & 0o077 == 0
    assert token.read_text().strip() not in printed
