"""What short commands leave unimported, each as a whole process: counts, since times depend on the machine."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from command_line import SPEC
from evaluation.records import Cost
from orchestrator.planning.plan import plan
from orchestrator.spec.file import spec_from_text
from orchestrator.sweeps.sweep import save_sweep
from workers.accounting.costs import write_costs
from workers.store.store import Store

SLOW = ("torch", "torchvision", "ray", "mlflow", "pandas", "pyarrow.dataset", "scipy", "sklearn", "plotly")
ARRAYS = ("numpy", "pyarrow")
SPECS = ("pydantic", "yaml", "models.architectures.registry", "workers.data.registry")
UNIMPORTED = {
    "--help": (*SLOW, *ARRAYS, *SPECS, "rich", "workers.store.store"),
    "list": (*SLOW, *ARRAYS, *SPECS),
    "status": (*SLOW, *ARRAYS, *SPECS, "rich"),
    "plan new.yaml": (*SLOW, *ARRAYS),
    "plan spec.yaml": SLOW,
    "status tiny": SLOW,
    "doctor": (*ARRAYS, *(name for name in SLOW if name != "torch" or not torch.cuda.is_available())),
}
PROGRAM = """\
import json, sys
from orchestrator.cli.main import cli
try:
    cli(sys.argv[2:])
except SystemExit as end:
    assert not end.code, end.code
print(json.dumps([name for name in sys.argv[1].split(",") if name in sys.modules]), file=sys.stderr)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder whose store has a sweep with the costs of one trial, and a second spec of another architecture."""
    folder = tmp_path_factory.mktemp("startup")
    (folder / "spec.yaml").write_text(SPEC)
    (folder / "new.yaml").write_text(SPEC.replace("tiny", "new").replace("[32]", "[16]"))
    store = Store(folder / "runs")
    first, *_ = save_sweep(store, plan(spec_from_text(SPEC, "spec")), 0.0).plan.trials
    row = Cost(first.trial_id, 1, "train", "done", 2.0, "cpu", 1.0, 10, None, None, None, 0.0, "here")
    write_costs(store.trial(first.trial_id), [row])
    return folder


@pytest.mark.parametrize("command", UNIMPORTED)
def test_a_short_command_imports_only_what_it_needs(command, folder):
    arguments = [sys.executable, "-P", "-c", PROGRAM, ",".join(UNIMPORTED[command]), *command.split()]
    environment = {"PYTHONPATH": str(Path(__file__).parents[3])}
    ended = subprocess.run(arguments, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.splitlines()[-1] == "[]"
