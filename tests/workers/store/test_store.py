"""The store: atomic files, the manifest as the one proof, names that stay inside, locks that die with their holder."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.store.manifest import Manifest
from workers.store.store import Folder, Store, StoreError

TRIAL = "ab" * 32


def finished_trial(store: Store, **content: bytes):
    folder = store.trial(TRIAL)
    files = {name: folder.write(name, value) for name, value in (content or {"a.bin": b"1234"}).items()}
    manifest = Manifest(TRIAL, files, attempts=1, started_at=0.0, finished_at=1.0, parameters=3, evaluations=["e"])
    folder.write("manifest.json", manifest.to_bytes())
    return folder, manifest


def test_manifest_verifies_a_whole_trial(tmp_path):
    """A trial whose files are all there with their sizes is done, and its manifest reads back equal."""
    folder, manifest = finished_trial(Store(tmp_path))
    assert folder.manifest() == manifest


@pytest.mark.parametrize("damage", ["missing", "truncated", "manifest cut", "manifest edited", "other trial"])
def test_damaged_trial_is_not_done(tmp_path, damage):
    """Whatever is missing or cut, the trial counts as not done rather than as done with half a result."""
    folder, manifest = finished_trial(Store(tmp_path))
    if damage == "missing":
        folder.remove("a.bin")
    elif damage == "truncated":
        (folder.path() / "a.bin").write_bytes(b"12")
    elif damage == "manifest cut":
        (folder.path() / "manifest.json").write_bytes(manifest.to_bytes()[:-20])
    elif damage == "manifest edited":
        record = json.loads(manifest.to_bytes()) | {"attempts": 7}
        folder.write_json("manifest.json", record)
    else:
        folder = Store(tmp_path).trial("cd" * 32)
        folder.write("manifest.json", manifest.to_bytes())
        folder.write("a.bin", b"1234")
    assert folder.manifest() is None


def test_changed_content_of_the_same_size_is_refused_when_read(tmp_path):
    """Sizes do not tell everything: whoever reads a file has its hash compared."""
    folder, manifest = finished_trial(Store(tmp_path))
    (folder.path() / "a.bin").write_bytes(b"4321")
    with pytest.raises(StoreError, match="changed since it was written"):
        folder.read_verified(manifest, "a.bin")


@pytest.mark.parametrize("name", ["../up", "a/b", "", ".", "..", "x" * 81, "a b", "a\n"])
def test_names_cannot_leave_the_store(tmp_path, name):
    """Sweep names that could be paths are refused, and so are ids that are not 64 hexadecimal digits."""
    with pytest.raises(StoreError):
        Store(tmp_path).sweep(name)
    with pytest.raises(StoreError):
        Store(tmp_path).trial(name)


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_write_replaces_whole_files(tmp_path_factory, first, second):
    """A file holds what was written last, and no unfinished file stays beside it."""
    folder = Folder(tmp_path_factory.mktemp("folder"))
    folder.write("sub/name", first)
    folder.write("sub/name", second)
    assert folder.read("sub/name") == second
    assert [path.name for path in (folder.path() / "sub").iterdir()] == ["name"]


def test_kill_in_the_middle_of_a_write_leaves_the_old_file(tmp_path):
    """A process killed while it writes 64 MiB leaves the file that was there, and a later attempt clears up."""
    folder = Store(tmp_path).trial(TRIAL)
    folder.write("big", b"old")
    code = (
        "from pathlib import Path; from workers.store.store import Store\n"
        f"f = Store(Path({str(tmp_path)!r})).trial({TRIAL!r})\n"
        "while True: f.write('other', bytes(2**26)); f.write('big', b'new' * 2**24); f.write('big', b'old')\n"
    )
    with subprocess.Popen([sys.executable, "-c", code]) as process:
        deadline = time.monotonic() + 60
        while not list(folder.path().glob(".*.tmp")) and time.monotonic() < deadline:
            pass
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert folder.read("big") in (b"old", b"new" * 2**24)
    folder.remove_unfinished_files()
    assert not list(folder.path().glob(".*.tmp"))


def test_lock_is_released_by_a_kill(tmp_path):
    """The lock of a process that is killed is free again at once, without a time-out."""
    folder = Folder(tmp_path / "x")
    code = (
        "import time; from pathlib import Path; from workers.store.store import Folder\n"
        f"folder = Folder(Path({str(folder.path())!r}))\n"
        "with folder.try_lock() as held: print(bool(held), flush=True); time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"True\n"
        with folder.try_lock() as held:
            assert not held
        process.kill()
        process.wait()
    with folder.try_lock() as held:
        assert held


def test_full_disk_is_one_clear_error_and_nothing_half_written(tmp_path):
    """On a file system without room the write fails with the path and the next step, and the old file stays."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], check=False).returncode:
        pytest.skip("needs the right to mount a small file system")
    try:
        folder = Folder(disk)
        folder.write("kept", b"old")
        with pytest.raises(StoreError, match="no space is left; free some"):
            folder.write("kept", bytes(2**20))
        assert folder.read("kept") == b"old"
        assert [path.name for path in disk.iterdir()] == ["kept"]
        with pytest.raises(StoreError, match="no space"):
            Store(disk).check_writable()
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_store_in_place_of_a_file_is_one_clear_error(tmp_path):
    """A store that is a file is refused with the way out."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="choose another place with --store"):
        Store(tmp_path / "file").check_writable()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_store_without_permission_is_one_clear_error(tmp_path):
    """A store that may not be written is refused with the cause."""
    tmp_path.chmod(0o500)
    with pytest.raises(StoreError, match="no permission"):
        Store(tmp_path / "runs").check_writable()


def test_store_on_a_read_only_file_system_is_one_clear_error():
    """The kernel's own read-only files stand for a store that nobody may write."""
    with pytest.raises(StoreError, match="cannot use"):
        Store(Path("/proc/sys/runs")).check_writable()
