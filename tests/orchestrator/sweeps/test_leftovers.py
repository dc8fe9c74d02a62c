"""What a kill between two file operations leaves behind is gone after the next submit."""

import os
import time

import pytest

from command_line import CommandLine
from orchestrator.sweeps.leftovers import SHARED_FOLDERS, WRITTEN_SECONDS, remove_leftovers
from orchestrator.sweeps.status import TrialStatus
from stores.test_earlier_store import FINISHED, INTERRUPTED, copy_of_sample
from workers.outcome import TrialState
from workers.store.store import Store, TrialFolder


@pytest.fixture
def killed(tmp_path):
    """A finished trial whose process was killed after its manifest, and one that is not done."""
    line = copy_of_sample(tmp_path)
    store = Store(line.store)
    for trial_id in (FINISHED, INTERRUPTED):
        folder = store.trial(trial_id)
        for name in ("progress.json", "checkpoint/step-000000289.safetensors", ".manifest.json.0a1b2c3d.tmp"):
            folder.write(name, b"{}")
    return store


DONE = [
    TrialStatus(FINISHED, TrialState.DONE),
    TrialStatus(INTERRUPTED, TrialState.PENDING),
]


def names(folder):
    return {path.relative_to(folder.path()).as_posix() for path in folder.path().rglob("*") if path.is_file()}


def test_a_trial_that_is_done_keeps_its_result_alone(killed):
    """And one that is not done its checkpoint, from which it resumes."""
    folder, other = killed.trial(FINISHED), killed.trial(INTERRUPTED)
    result, before = {*folder.manifest().files, TrialFolder.MANIFEST}, names(other)
    remove_leftovers(killed, "sample", DONE)
    assert names(folder) >= result
    assert not {name for name in names(folder) if "step-" in name or "tmp" in name or "progress" in name}
    assert folder.manifest() is not None
    assert names(other) == before


def test_a_trial_that_another_process_has_is_left_alone(killed):
    """It evaluates a trial that is done."""
    before = names(killed.trial(FINISHED))
    with killed.trial(FINISHED).try_lock():
        remove_leftovers(killed, "sample", DONE)
    assert names(killed.trial(FINISHED)) - {".lock"} == before


@pytest.mark.parametrize("place", ["sweeps/sample", "sweeps/sample/report", *SHARED_FOLDERS])
def test_of_other_folders_old_temporary_files_are_removed(killed, place):
    """The writer of a young one may be alive."""
    folder = killed.folder(place)
    for name, age in ((".a.json.01234567.tmp", 2 * WRITTEN_SECONDS), (".b.json.89abcdef.tmp", 0)):
        folder.write(name, b"")
        then = time.time() - age
        os.utime(folder.path(name), (then, then))
    remove_leftovers(killed, "sample", [])
    assert not folder.path(".a.json.01234567.tmp").exists()
    assert folder.path(".b.json.89abcdef.tmp").exists()


@pytest.mark.slow
def test_submit_removes_them(killed, submit_here):
    line = CommandLine(killed.root.parent)
    assert submit_here(line, "spec.yaml").code == 0
    left = [path for path in (killed.root / "trials").rglob("*") if path.name.endswith(".tmp") or "step-" in path.name]
    assert left == []
