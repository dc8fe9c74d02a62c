import json
import logging
import math
import os
import resource
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.running.metric_log import Entry, MetricLog, log_id, read_entries

VALUES = st.floats(allow_nan=False)
APPENDS = st.lists(
    st.tuples(
        st.integers(-5, 5),
        st.dictionaries(st.sampled_from(["train/loss", "test/β", "zeile\nzwei"]), VALUES, min_size=1),
        st.integers(0, 2**53),
    ),
    max_size=8,
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "trial" / "metrics.jsonl"


def test_an_entry_comes_back_as_it_was_logged(path):
    """A logged step is read back with its metrics, its step and the timestamp it was given."""
    MetricLog(path).append(3, {"train/elbo": -91.5, "train/loss": 0.1}, 1_700_000_000_000)
    entries, _ = read_entries(path, 0)
    assert entries == [Entry(3, 1_700_000_000_000, (("train/elbo", -91.5), ("train/loss", 0.1)))]


@given(appends=APPENDS, restarts=st.sets(st.integers(0, 8)))
def test_every_metric_and_step_stands_once_with_its_first_value(appends, restarts):
    """Whatever is appended again, in one process or after restarts, the first value stays."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "metrics.jsonl"
        log = MetricLog(path)
        expected = {}
        for index, (step, metrics, timestamp_ms) in enumerate(appends):
            log = MetricLog(path) if index in restarts else log
            log.append(step, metrics, timestamp_ms)
            for name, value in metrics.items():
                expected.setdefault((name, step), (value, timestamp_ms))
        found = [
            ((name, entry.step), (value, entry.timestamp_ms))
            for entry in read_entries(path, 0)[0]
            for name, value in entry.metrics
        ]
        assert len(found) == len(expected)
        assert dict(found) == expected


@given(appends=APPENDS, cut=st.integers(0, 2000))
def test_a_log_cut_anywhere_keeps_its_whole_lines_and_goes_on(appends, cut):
    """A kill leaves a prefix of the bytes: its complete lines stay, and later ones follow undamaged."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "metrics.jsonl"
        log = MetricLog(path)
        for step, metrics, timestamp_ms in appends:
            log.append(step, metrics, timestamp_ms)
        content = path.read_bytes() if path.exists() else b""
        path.write_bytes(content[:cut])
        whole_lines = content[:cut].count(b"\n")
        MetricLog(path).append(99, {"train/loss": 1.0}, 7)
        entries, offset = read_entries(path, 0)
        assert len(entries) == whole_lines + 1
        assert entries[-1] == Entry(99, 7, (("train/loss", 1.0),))
        assert offset == path.stat().st_size


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_values_that_json_has_not_are_kept_in_valid_json(path, value):
    """NaN and the infinities are logged, come back as they were, and any JSON parser reads the line."""
    MetricLog(path).append(0, {"train/loss": value}, 1)

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    json.loads(path.read_text(), parse_constant=refuse)
    ((_, found),) = read_entries(path, 0)[0][0].metrics
    assert found == value or (math.isnan(found) and math.isnan(value))


def test_reading_goes_on_where_it_stopped(path):
    """The offset of one read is where the next begins: no entry is seen twice, none is missed."""
    log = MetricLog(path)
    log.append(1, {"a": 1.0}, 1)
    first, offset = read_entries(path, 0)
    log.append(2, {"a": 2.0}, 2)
    second, end = read_entries(path, offset)
    assert [entry.step for entry in first + second] == [1, 2]
    assert read_entries(path, end) == ([], end)


def test_an_unfinished_last_line_waits_for_its_end(path):
    """A reader that comes in the middle of a write sees the complete lines only, and the rest later."""
    MetricLog(path).append(1, {"a": 1.0}, 1)
    line = path.read_bytes()
    with path.open("ab") as handle:
        handle.write(line[:10])
    entries, offset = read_entries(path, 0)
    assert (len(entries), offset) == (1, len(line))
    with path.open("ab") as handle:
        handle.write(line[10:])
    assert len(read_entries(path, offset)[0]) == 1


@pytest.mark.parametrize(
    "damage",
    [b"\x00\xff\x00\n", b"[1, 2]\n", b'{"step": 1}\n', b'{"step": 1, "timestamp_ms": 1, "metrics": 3}\n'],
)
def test_a_damaged_line_in_the_middle_is_skipped_with_a_warning(path, caplog, damage):
    """One unreadable line costs that line, not the log, and the warning names the file."""
    MetricLog(path).append(1, {"a": 1.0}, 1)
    with path.open("ab") as handle:
        handle.write(damage)
    with caplog.at_level(logging.WARNING):
        MetricLog(path).append(2, {"a": 2.0}, 2)
        assert [entry.step for entry in read_entries(path, 0)[0]] == [1, 2]
    assert str(path) in caplog.text


def test_a_missing_log_has_no_entries(path):
    """A trial that has not logged yet has no file, which is no error."""
    assert read_entries(path, 0) == ([], 0)
    assert log_id(path) is None


def test_an_offset_behind_the_end_reads_from_the_start(path):
    """Where a shorter log took the place of one that was read, all of it is read."""
    MetricLog(path).append(1, {"a": 1.0}, 1)
    entries, offset = read_entries(path, 10_000)
    assert (len(entries), offset) == (1, path.stat().st_size)


def test_logs_of_different_attempts_from_scratch_have_different_ids(path, tmp_path):
    """The id is the log's own: it stays when the log grows, and another log of the same trial has another."""
    log = MetricLog(path)
    log.append(1, {"a": 1.0}, 1)
    before = log_id(path)
    log.append(2, {"a": 2.0}, 2)
    other = tmp_path / "other.jsonl"
    MetricLog(other).append(1, {"a": 1.0}, 2)
    assert log_id(path) == before
    assert log_id(other) != before


def test_a_full_disk_is_an_error_and_the_next_line_is_whole(path):
    """Where the system writes half a line and no more, `append` raises; later lines are readable."""
    log = MetricLog(path)
    log.append(1, {"a": 1.0}, 1)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 10, hard))
    try:
        with pytest.raises(OSError, match="disk full"):
            log.append(2, {"a": 2.0}, 2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    log.append(2, {"a": 2.0}, 3)
    assert [(entry.step, entry.timestamp_ms) for entry in read_entries(path, 0)[0]] == [(1, 1), (2, 3)]


def test_what_append_returned_from_survives_kill_9(path):
    """A line is on disk when `append` returns: a process killed with SIGKILL right after loses none."""
    code = (
        "import os, pathlib, signal, sys; from workers.running.metric_log import MetricLog;"
        "log = MetricLog(pathlib.Path(sys.argv[1]));"
        "[log.append(step, {'a': 1.0}, step) for step in range(20)];"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(path)], check=False, env={**os.environ})
    assert killed.returncode == -signal.SIGKILL
    assert [entry.step for entry in read_entries(path, 0)[0]] == list(range(20))
