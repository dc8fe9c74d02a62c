"""The command line with bad input: one clear message, exit code 2, no trace, nothing half-written."""

import json
import subprocess

import pytest
from click.testing import CliRunner

from command_line import SPEC
from orchestrator.cli.main import COMMANDS, cli
from orchestrator.spec.model import json_schema

BAD_SPECS = {
    "unknown key": (("epochs: 3", "epochs: 3, learning_rat: 1"), "spec.yaml:8:", "did you mean 'learning_rate'?"),
    "misspelt value": (("bernoulli", "bernouli"), "spec.yaml:4:", "did you mean 'bernoulli'?"),
    "β of zero": (("[0.1, 1]", "[0, 1]"), "spec.yaml:7:", "above 0"),
    "negative β": (("[0.1, 1]", "[0.1, -1]"), "spec.yaml:7:", "above 0"),
    "no β": (("[0.1, 1]", "[]"), "spec.yaml:7:", ""),
    "no seeds": (("seeds: [0]", "seeds: []"), "spec.yaml:9:", ""),
    "range upside down": (("[0.01, 10]", "[10, 0.01]"), "spec.yaml:6:", "10 to 0.01"),
    "grid upside down": (("[0.1, 1]", "{from: 5, to: 1, count: 3}"), "spec.yaml:7:", ""),
    "unknown metric": (("{betas: [0.1, 0.3, 1]}", "{metrics: [psrn]}"), "spec.yaml:10:", "did you mean 'psnr'?"),
    "metric the data cannot give": (
        ("{betas: [0.1, 0.3, 1]}", "{metrics: [bits_per_dimension]}\n", "train_limit: 256", "binarise: none"),
        "spec.yaml:10:",
        "binarise",
    ),
    "architecture of another shape": (("name: mlp, hidden: [32],", "name: resnet,"), "spec.yaml:3:", "28"),
    "likelihood of another architecture": (
        ("name: mlp, hidden: [32],", "name: linear,"),
        "spec.yaml:4:",
        "likelihood must be 'squared-error'",
    ),
    "name with a slash": (("name: tiny", "name: a/b"), "spec.yaml:1:", "letters, digits"),
    "broken YAML": (("seeds: [0]", "seeds: [0"), "spec.yaml:", ""),
    "unsafe tag": (("seeds: [0]", "seeds: !!python/object/apply:os.system ['touch pwned']"), "spec.yaml:9:", "tag"),
    "duplicate key": (("seeds: [0]", "seeds: [0]\nseeds: [1]"), "spec.yaml:10:", "seeds"),
    "text for a number": (("epochs: 3", "epochs: three"), "spec.yaml:8:", ""),
    "warm-up longer than training": (("epochs: 3", "epochs: 3, warmup_epochs: 3"), "spec.yaml:8:", "below epochs"),
}


@pytest.fixture
def invoke(tmp_path, monkeypatch):
    """Run a command in an empty folder; what the program did not expect is raised, not shown."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        return CliRunner().invoke(cli, [str(argument) for argument in arguments])

    return run


@pytest.mark.parametrize("case", BAD_SPECS)
@pytest.mark.parametrize("command", ["submit", "plan"])
def test_bad_spec_is_one_message_with_its_place(invoke, tmp_path, case, command):
    """Every bad spec names the line and what to do, and leaves nothing behind."""
    (replacements, place, hint) = BAD_SPECS[case]
    text = SPEC
    for old, new in zip(replacements[::2], replacements[1::2], strict=True):
        assert old in text
        text = text.replace(old, new)
    (tmp_path / "spec.yaml").write_text(text)
    result = invoke(command, "spec.yaml")
    assert result.exit_code == 2, result.output
    assert place in result.output
    assert hint in result.output
    assert "Traceback" not in result.output
    assert [path.name for path in tmp_path.iterdir()] == ["spec.yaml"]


def test_missing_spec_names_the_nearest_file(invoke, tmp_path):
    """A misspelt path is not a trace."""
    (tmp_path / "spec.yaml").write_text(SPEC)
    result = invoke("submit", "spce.yaml")
    assert result.exit_code == 2
    assert "no such file; did you mean spec.yaml?" in result.output


def test_bad_override_names_the_option(invoke, tmp_path):
    """An error in a --set value has that option as its place."""
    (tmp_path / "spec.yaml").write_text(SPEC)
    result = invoke("plan", "spec.yaml", "--set", "training.epochs=abc")
    assert result.exit_code == 2
    assert "--set training.epochs=abc" in result.output


def test_unknown_command_sweep_and_option_are_usage_errors(invoke, tmp_path):
    """The nearest valid choice is named, and the exit code is 2."""
    for arguments, hint in (
        (["sumbit", "x"], "did you mean 'submit'?"),
        (["status", "quikstart"], "nothing was submitted to the store"),
        (["report", "../evil"], "is not a sweep's name"),
        (["submit", "--dry-rum", "x"], "--dry-run"),
        (["submit", "x", "--checkpoint-every", "0"], "--checkpoint-every"),
        (["data", "fetch", "mnits"], "mnist"),
    ):
        result = invoke(*arguments)
        assert result.exit_code == 2, arguments
        assert hint in result.output, result.output
    assert not list(tmp_path.iterdir())


def test_store_that_is_a_file_is_refused_before_anything_runs(invoke, tmp_path):
    """The message names the path and the option."""
    (tmp_path / "spec.yaml").write_text(SPEC)
    (tmp_path / "runs").write_text("")
    result = invoke("submit", "spec.yaml")
    assert result.exit_code == 2
    assert "choose another place with --store" in result.output


def test_full_disk_is_refused_before_anything_runs(invoke, tmp_path):
    """A store without room is named, and nothing half-written is left in it."""
    (tmp_path / "spec.yaml").write_text(SPEC)
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], check=False).returncode:
        pytest.skip("needs the right to mount a small file system")
    try:
        result = invoke("submit", "spec.yaml", "--store", disk / "runs")
        assert result.exit_code == 2
        assert "no space is left" in result.output
        assert not [path for path in disk.rglob("*") if path.is_file()]
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_dry_run_and_plan_write_nothing(invoke, tmp_path):
    """Looking at a plan leaves no trace in the folder."""
    (tmp_path / "spec.yaml").write_text(SPEC)
    for arguments in (["submit", "spec.yaml", "--dry-run"], ["plan", "spec.yaml"], ["plan", "spec.yaml", "--json"]):
        result = invoke(*arguments)
        assert result.exit_code == 0, result.output
    assert [path.name for path in tmp_path.iterdir()] == ["spec.yaml"]
    assert len(json.loads(result.output)["trials"]) == 3


def test_schema_is_that_of_the_spec(invoke):
    """`schema` prints the JSON Schema, in which every architecture and dataset has its options."""
    assert json.loads(invoke("schema").output) == json.loads(json.dumps(json_schema()))


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(invoke, shell):
    """Each shell gets a script that calls this program."""
    result = invoke("completion", shell)
    assert result.exit_code == 0
    assert "_MRVAE_ORCH_COMPLETE" in result.output


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(invoke, command):
    """`--help` says what a command is for and shows how it is called."""
    result = invoke(command, "--help")
    assert result.exit_code == 0
    assert f"mrvae-orch {command}" in result.output or command == "data"


def test_data_list_and_check(invoke):
    """Digits are always here, MNIST is said to be missing where it is."""
    listed = invoke("data", "list", "--data", "nowhere").output
    assert "digits" in listed
    assert "mnist" in listed
    checked = invoke("data", "check", "digits")
    assert "digits train: 1,297 examples of (1, 8, 8)" in checked.output
    missing = invoke("data", "check", "mnist", "--data", "nowhere")
    assert missing.exit_code == 2
    assert "mrvae-orch data fetch mnist" in missing.output


def test_doctor_tells_good_from_bad(invoke, tmp_path):
    """A healthy machine passes; a store that cannot be used and a server that does not answer fail."""
    healthy = invoke("doctor")
    assert healthy.exit_code == 0, healthy.output
    assert "torch" in healthy.output
    assert not list(tmp_path.iterdir())
    (tmp_path / "runs").write_text("")
    sick = invoke("doctor", "--tracking-uri", "http://me:secret@127.0.0.1:9")
    assert sick.exit_code == 1
    assert "choose another place with --store" in sick.output
    assert "http://127.0.0.1:9" in sick.output
    assert "secret" not in sick.output
