"""Stores that belong to others: read-only, of a group, or of a newer release."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from evaluation.records import Point, read_rows, to_table
from orchestrator.sweeps.sweep import load_sweep, save_sweep
from stores.test_earlier_store import INTERRUPTED, MULTI_RATE, copy_of_sample
from workers.store.json_files import hashed
from workers.store.store import Store

LOOKS = ("status sample", "status", "list", "watch sample --once", "plan spec.yaml", "report sample --out out")
WITHOUT_RIGHTS = ("setpriv", "--bounding-set=-all", "--inh-caps=-all") if os.geteuid() == 0 else ()
"""Root may write everywhere, unless it gives that up."""


@pytest.fixture
def line(tmp_path):
    return copy_of_sample(tmp_path)


def without_rights(code, *arguments):
    """Run Python code in a process that may write only where modes allow it."""
    command = [*WITHOUT_RIGHTS, sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    places = [str(Path(__file__).parents[up]) for up in (1, 2)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(places)}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def set_writable(folder, *, writable):
    for path in (folder, *folder.rglob("*")):
        mode = path.stat().st_mode
        path.chmod(mode | 0o200 if writable else mode & ~0o222)


@pytest.fixture
def read_only(line):
    """The store, with a lock that another process has on the trial that is not done."""
    store = Store(line.store)
    with store.trial(INTERRUPTED).try_lock() as lock:
        assert lock
        set_writable(line.store, writable=False)
        yield line
        set_writable(line.store, writable=True)


def test_looking_needs_no_permission_to_write(read_only):
    """Each command prints what it knows, and leaves the store as it is."""
    before = sorted(read_only.store.rglob("*"))
    code = """
    import json, sys
    from pathlib import Path
    from command_line import CommandLine
    line = CommandLine(Path(sys.argv[1]))
    done = [line.ask(*command.split()) for command in sys.argv[2:]]
    print(json.dumps([(each.code, each.out, each.err) for each in done]))
    """
    ran = without_rights(code, read_only.folder, *LOOKS)
    assert not ran.returncode, ran.stderr
    results = dict(zip(LOOKS, json.loads(ran.stdout), strict=True))
    assert {name: (code, err) for name, (code, _, err) in results.items() if code or err} == {}
    assert "2 done, 1 running" in results["status sample"][1]
    assert (read_only.folder / "out" / "report.html").exists()
    assert sorted(read_only.store.rglob("*")) == before


def test_a_lock_of_which_only_its_maker_may_write_the_file_is_acquired(tmp_path):
    """A umask of 022 in a group's store."""
    folder = Store(tmp_path).trial(MULTI_RATE)
    with folder.try_lock():
        pass
    (folder.path() / ".lock").chmod(0o444)
    code = """
    import sys
    from pathlib import Path
    from workers.store.store import Store
    with Store(Path(sys.argv[1])).trial(sys.argv[2]).try_lock() as lock:
        print(bool(lock))
    """
    assert without_rights(code, tmp_path, MULTI_RATE).stdout == "True\n"


def test_who_looks_is_in_nobodys_way(tmp_path):
    """A lock is acquired while another process asks all the time whether it is."""
    folder = Store(tmp_path).trial(MULTI_RATE)
    with folder.try_lock():
        pass
    code = (
        "import sys\nfrom pathlib import Path\nfrom workers.store.store import Store\n"
        "folder = Store(Path(sys.argv[1])).trial(sys.argv[2])\nprint(flush=True)\nwhile True: folder.is_locked()"
    )
    with subprocess.Popen([sys.executable, "-c", code, tmp_path, MULTI_RATE], stdout=subprocess.PIPE) as looking:
        looking.stdout.readline()
        acquired = []
        for _ in range(300):
            with folder.try_lock() as lock:
                acquired.append(bool(lock))
        looking.kill()
    assert all(acquired)


def test_what_is_written_into_a_groups_store_the_group_may_change(line):
    """With the umask of such a store; MLflow's database is tested with MLflow."""
    before = set(line.store.rglob("*"))
    mask = os.umask(0o002)
    try:
        assert line.ask("report", "sample").code == 0
        assert line.ask("cancel", "sample", INTERRUPTED).code == 0
        store = Store(line.store)
        save_sweep(store, load_sweep(store, "sample").plan, 0.0)
        with store.trial(MULTI_RATE).try_lock():
            store.trial(MULTI_RATE).write("log/attempt-9.txt", b"")
    finally:
        os.umask(mask)
    new = set(line.store.rglob("*")) - before
    assert {"report.html", "planned.json", ".lock", "attempt-9.txt"} <= {path.name for path in new}
    assert [path for path in new if path.stat().st_mode & 0o060 != 0o060] == []


def newer_manifest(line):
    path = line.trial_folder(MULTI_RATE) / "manifest.json"
    record = json.loads(path.read_bytes())
    path.write_text(json.dumps(hashed(record | {"version": 2, "of_a_newer_release": []})))


def newer_plan(line):
    store = Store(line.store)
    sweep = load_sweep(store, "sample")
    folder = save_sweep(store, sweep.plan, sweep.submitted_at).folder
    folder.write_json("planned.json", hashed(folder.read_json("planned.json") | {"version": 2, "trials": {}}))


def newer_spec(line):
    path = line.store / "sweeps/sample/spec.yaml"
    path.write_text(path.read_text() + "surface: {betas: 441}\n")


def newer_points(line):
    """Points with a column that this release does not know, in a file that the manifest has hashed."""
    import hashlib

    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = line.trial_folder(MULTI_RATE)
    manifest = json.loads((folder / "manifest.json").read_bytes())
    (name,) = [name for name in manifest["files"] if name.startswith("points/")]
    rows = read_rows(Point, (folder / name).read_bytes(), name)
    table = to_table(Point, rows).append_column("of_a_newer_release", pa.array([1.0] * len(rows)))
    pq.write_table(table, folder / name)
    content = (folder / name).read_bytes()
    manifest["files"][name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (folder / "manifest.json").write_text(json.dumps(hashed(manifest)))


@pytest.mark.parametrize("newer", [newer_manifest, newer_plan, newer_spec, newer_points])
def test_what_a_newer_release_wrote_is_named(line, newer):
    """Every command says that it cannot read it; nothing is changed, and no number of it is shown."""
    newer(line)
    before = {path: path.read_bytes() for path in line.store.rglob("*") if path.is_file()}
    for command in LOOKS:
        done = line.ask(*command.split())
        assert "Traceback" not in done.out + done.err
    said = line.ask("status", "sample")
    reported = line.ask("report", "sample", "--out", "out")
    told = said.out + said.err + reported.out + reported.err
    assert {
        newer_manifest: "was written by a newer release",
        newer_plan: "was written by another release (format 2",
        newer_spec: "surface",
        newer_points: "of_a_newer_release",
    }[newer] in told
    assert {path: path.read_bytes() for path in before} == before
