"""Links in a store that lead out of it: whoever may write there could else reach what only another user may."""

import pytest

from workers.running.metric_log import MetricLog, log_in
from workers.store.files import LOCK
from workers.store.store import Store, StoreError

TRIAL = "a" * 64


@pytest.fixture
def outside(tmp_path):
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "secret").write_text("secret")
    return folder


@pytest.fixture
def trial(tmp_path):
    folder = Store(tmp_path / "store").trial(TRIAL)
    folder.write("kept", b"kept")
    return folder


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


OPERATIONS = {
    "read": lambda folder, name: folder.read(name),
    "write": lambda folder, name: folder.write(name, b"written"),
    "commit": lambda folder, name: folder.commit(name, b"written"),
    "remove": lambda folder, name: folder.remove(name),
    "append": lambda folder, name: MetricLog(folder.path(name)).write(1, 0, {"loss": 1.0}),
}


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
@pytest.mark.parametrize("name", ["secret", "points/secret"])
def test_a_file_outside_the_store_is_not_reached(trial, outside, operation, name):
    """Neither by a link in its place nor by one in the place of its folder."""
    before = contents(outside)
    place = trial.path() / name.partition("/")[0]
    place.symlink_to(outside / "secret" if name == "secret" else outside)
    with pytest.raises(StoreError, match=rf"{place.name} is a link out of the store, to .*outside.*; replace it"):
        operation(trial, name)
    assert contents(outside) == before
    assert trial.sizes([name, "kept"]) == {"kept": 4}


def test_a_trial_that_is_a_link_is_not_locked(trial, outside):
    place = trial.path()
    place.rename(place.with_name("moved"))
    place.symlink_to(outside)
    for use in (trial.is_locked, trial.remove_unfinished_files, lambda: trial.names("*"), trial.exists):
        with pytest.raises(StoreError, match="is a link out of the store"):
            use()
    with pytest.raises(StoreError, match="is a link out of the store"), trial.try_lock():
        pass
    assert set(contents(outside)) == {"secret"}


def test_the_names_of_files_outside_are_not_listed(trial, outside):
    (trial.path() / "points").symlink_to(outside)
    for pattern in ("points/*", "*/*", "*"):
        with pytest.raises(StoreError, match="points is a link out of the store"):
            trial.names(pattern)


def test_a_lock_that_is_a_link_makes_no_file(trial, outside):
    (trial.path() / LOCK).symlink_to(outside / "made")
    with pytest.raises(StoreError, match=r"\.lock is a link out of the store"), trial.try_lock():
        pass
    assert not (outside / "made").exists()


def test_a_log_that_is_a_link_gets_no_line(trial, outside):
    (trial.path() / "metrics.jsonl").symlink_to(outside / "secret")
    with pytest.raises(StoreError, match="is a link out of the store"):
        log_in(trial)


def test_links_inside_the_store_and_to_the_store_are_followed(tmp_path, trial):
    """A lab keeps its store on another disk, behind a link."""
    (tmp_path / "linked").symlink_to(tmp_path / "store")
    (trial.path() / "again").symlink_to(trial.path() / "kept")
    through = Store(tmp_path / "linked").trial(TRIAL)
    assert through.read("again") == through.read("kept") == b"kept"
    through.write("new", b"new")
    assert trial.read("new") == b"new"
