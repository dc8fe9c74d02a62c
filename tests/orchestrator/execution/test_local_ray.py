"""The Ray of one machine: its sockets and logs are where no other user can enter."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import os, sys
from orchestrator.execution.ray_cluster import local_ray
with local_ray(cpus=1):
    import ray
    folder = os.path.dirname(ray._private.worker._global_node.temp_dir)
    print(folder, oct(os.stat(folder).st_mode & 0o777), len(os.listdir(folder)) > 0, flush=True)
    if sys.argv[1:] == ["fail"]:
        raise ValueError("failed")
"""


@pytest.mark.parametrize("outcome", ["done", "fail"])
def test_no_other_user_can_enter_the_folder_of_ray(tmp_path, outcome):
    """It is gone at the end, unless an error ended it; then its logs may tell why."""
    long = tmp_path / ("long" * 20)
    long.mkdir()
    environment = os.environ | {"TMPDIR": str(long if outcome == "fail" else tmp_path)}
    arguments = [sys.executable, "-c", CODE, outcome]
    ran = subprocess.run(arguments, capture_output=True, text=True, check=False, env=environment)
    folder, mode, is_used = ran.stdout.split()
    assert (mode, is_used) == ("0o700", "True")
    assert Path(folder).exists() == (outcome == "fail")
    if outcome == "fail":
        assert "ValueError: failed" in ran.stderr
        shutil.rmtree(folder)
