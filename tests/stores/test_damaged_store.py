"""Every file of a store damaged in turn: commands that look say what they know, without a trace or a false number."""

import io
import json
import random
import re
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from command_line import SPEC, CommandLine
from orchestrator.sweeps.sweep import load_sweep, save_sweep
from stores.test_earlier_store import REPORTED, SAMPLE
from workers.store.json_files import hashed
from workers.store.store import Store

LOOKS = (
    ("status",),
    ("status", "sample"),
    ("status", "sample", "--json"),
    ("list",),
    ("watch", "sample", "--once"),
    ("plan", "spec.yaml"),
    ("logs", "sample"),
    ("compare", "sample", "sample", "--at", "betas=1"),
    ("check", "sample", "expected.json"),
)
WRONG_VALUES = ("text", -1, 1e400, None, [], {"deep": {}}, True, "../../../etc/passwd", "9" * 400)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The stored sample, with the plan that a release of today keeps."""
    folder = tmp_path_factory.mktemp("whole")
    shutil.copytree(SAMPLE, folder, dirs_exist_ok=True)
    (folder / "store").rename(folder / "runs")
    store = Store(folder / "runs")
    sweep = load_sweep(store, "sample")
    save_sweep(store, sweep.plan, sweep.submitted_at)
    return folder


@pytest.fixture
def line(whole, tmp_path):
    return CommandLine(shutil.copytree(whole, tmp_path / "copy"))


def files_of(folder):
    return sorted(path.relative_to(folder / "runs") for path in (folder / "runs").rglob("*") if path.is_file())


def truncated(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def emptied(path):
    path.write_bytes(b"")


def garbled(path):
    path.write_bytes(random.Random(3).randbytes(200))  # noqa: S311 (any bytes do)


def a_list(path):
    path.write_bytes(b"[1, 2]")


def a_folder(path):
    path.unlink()
    path.mkdir()


def gone(path):
    path.unlink()


DAMAGES = (truncated, emptied, garbled, a_list, a_folder, gone)


def reported(line):
    """Return (rate, distortion) of each trial and β in the report that is written, which is to be of the store."""
    shutil.rmtree(line.folder / "out", ignore_errors=True)
    done = line.ask("report", "sample", "--out", "out")
    assert done.code in (0, 2), done.err
    if done.code == 2:
        assert done.err.count("\n") < 4, done.err
        return None
    path = line.folder / "out" / "points.parquet"
    rows = pq.read_table(io.BytesIO(path.read_bytes())).to_pylist() if path.exists() else []
    return {(row["trial_id"], f"{row['betas'][0]:g}"): (row["rate_nats"], row["distortion"]) for row in rows}


def check_looks(line, looks=LOOKS):
    for command in looks:
        done = line.ask(*command)  # which raises whatever is no message for the user
        assert done.code in (0, 1, 2, 130), (command, done)
        assert "Traceback" not in done.out + done.err


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_no_trace_and_no_false_number(line, whole, damage):
    """Whichever file it is; the report has the numbers of whole files alone."""
    for name in files_of(whole):
        path = line.store / name
        damage(path)
        check_looks(line)
        found = reported(line)
        assert found is None or found.items() <= REPORTED.items(), name
        if path.is_dir():
            path.rmdir()
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(whole / "runs" / name, path)
    assert reported(line) == REPORTED


def with_value(content, key, value):
    """Return a JSON file with another value under a key, and with the hash that belongs to it if it has one."""
    record = json.loads(content) | {key: value}
    return json.dumps(hashed(record) if "sha256" in record and key != "sha256" else record).encode()


def check_values(line, whole, names, looks):
    for name in names:
        path = line.store / name
        content = path.read_bytes()
        for key in json.loads(content):
            for value in WRONG_VALUES:
                path.write_bytes(with_value(content, key, value))
                check_looks(line, looks)
        path.write_bytes(content)


def json_files(whole):
    kinds = {}
    for name in files_of(whole):
        if name.suffix == ".json":
            kinds.setdefault(name.name, name)
    return sorted(kinds.values())


def test_a_wrong_value_in_a_json_file_is_no_trace(line, whole):
    """Text for a number, a number that is none, a list, nothing: in the state of all sweeps."""
    names = [name for name in json_files(whole) if name.name != "trial.json"]
    assert {name.name for name in names} == {
        "manifest.json", "planned.json", "driver.json", "submitted.json", "progress.json"
    }  # fmt: skip
    check_values(line, whole, names, (("status",), ("list",)))


@pytest.mark.slow
def test_a_wrong_value_in_a_json_file_is_no_trace_for_any_command(line, whole):
    check_values(line, whole, json_files(whole), LOOKS)


def test_a_manifest_cannot_name_files_outside_its_trial(line, whole):
    """Its own hash may be right: whoever writes a store can compute it."""
    outside = line.folder / "outside.parquet"
    manifest = next(name for name in files_of(whole) if name.name == "manifest.json")
    path = line.store / manifest
    record = json.loads(path.read_bytes())
    points = next(name for name in record["files"] if name.startswith("points/"))
    shutil.copy(path.parent / points, outside)
    files = record["files"] | {"../../../outside.parquet": record["files"][points]}
    path.write_bytes(with_value(path.read_bytes(), "files", files))
    assert Store(line.store).trial(path.parent.name).manifest() is None
    assert "its result is damaged" in line.ask("status", "sample").out


def test_the_names_of_the_damages_are_those_of_the_sample(whole):
    """The sample has a file of each kind that a trial leaves."""
    names = {Path(name).name.partition("-")[0] for name in files_of(whole)}
    assert {"manifest.json", "trial.json", "history.parquet", "costs.parquet", "metrics.jsonl", "spec.yaml"} <= names


FINISHED = (
    SPEC.replace("name: tiny", "name: done")
    .replace("seeds: [0]", "seeds: [0, 1]")
    .replace("betas: [0.1, 0.3, 1]}", "betas: [0.1, 1], metrics: [psnr]}")
)
LOOKS_AT_FINISHED = (
    *(("status",), ("list",), ("plan", "done.yaml")),
    *(("check", "done", "--against", "base"), ("compare", "done", "other"), ("logs", "done")),
    *(
        ("record", "done", "--as", "again", "--replace", "--tolerance", "1"),
        ("sync", "done"),
        ("report", "done", "--out", "out"),
    ),
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory, submit_here):
    """A store with a file of every kind that commands write: two sweeps, their reports, references and MLflow."""
    line = CommandLine(tmp_path_factory.mktemp("finished"))
    for name in ("done", "other"):
        line.write_spec(FINISHED.replace("name: done", f"name: {name}"), f"{name}.yaml")
        assert submit_here(line, f"{name}.yaml").code == 0
    assert line.ask("report", "done").code == 0
    assert line.ask("record", "done", "--as", "base", "--tolerance", "1").code == 0
    return line.folder


def kind_of(name):
    """Return a file's name without what tells files of one kind apart."""
    return "/".join(re.sub(r"[0-9a-f]{16,}|\d+", "#", part) for part in name.parts)


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_of_any_kind_is_one_message(finished, tmp_path, damage):
    """References, reports, MLflow's database, logs, calibrations: one file of each kind, and every command."""
    line = CommandLine(shutil.copytree(finished, tmp_path / "copy"))
    one_of_each = {kind_of(name): name for name in files_of(finished) if name.parts[0] != "mlartifacts"}
    assert len(one_of_each) > 20
    for name in one_of_each.values():
        path = line.store / name
        damage(path)
        check_looks(line, LOOKS_AT_FINISHED)
        shutil.rmtree(line.store)
        shutil.copytree(finished / "runs", line.store)
