"""What no command can work with is one message within seconds, and nothing is half-written."""

import contextlib
import platform
import subprocess
import sys

import pytest

from command_line import CommandLine
from orchestrator.spec.file import MOST_BYTES, SpecError, read_spec
from stores.test_earlier_store import copy_of_sample

FORBID = """
import ctypes, struct, sys
# seccomp(2): clock_nanosleep (230 on x86-64) fails with EPERM, as in a container of an old runtime.
code = [(0x20, 0, 0, 0), (0x15, 0, 1, 230), (0x06, 0, 0, 0x00050001), (0x06, 0, 0, 0x7FFF0000)]
filters = b"".join(struct.pack("HBBI", *each) for each in code)
buffer = ctypes.create_string_buffer(filters)
program = struct.pack("HxxxxxxP", len(code), ctypes.addressof(buffer))
libc = ctypes.CDLL(None, use_errno=True)
if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, program, 0, 0):
    sys.exit("no seccomp here")
"""


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the number of the system call is that of x86-64")
@pytest.mark.parametrize("command", ["submit spec.yaml", "watch sample", "status"])
def test_a_container_that_forbids_to_wait_is_one_message(tmp_path, command):
    copy_of_sample(tmp_path)
    run = f"from orchestrator.cli.main import run\nsys.argv = ['mrvae-orch', *{command.split()!r}]\nrun()\n"
    done = subprocess.run(
        [sys.executable, "-c", FORBID + run], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
    )
    if "no seccomp here" in done.stderr:
        pytest.skip("this machine allows no seccomp filter")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "this container forbids programs to wait (clock_nanosleep: Operation not permitted)" in done.stderr


@pytest.fixture
def full_disk(tmp_path):
    """A folder on a file system of a few mebibytes."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(disk)], check=False).returncode:
        pytest.skip("needs the right to mount a small file system")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_disk_that_fills_keeps_the_earlier_report_whole(full_disk):
    """The new one has no room: one message, and each file is that of before."""
    line = copy_of_sample(full_disk)
    assert line.ask("report", "sample", "--format", "markdown", "--format", "csv").code == 0
    report = line.store / "sweeps/sample/report"
    before = {path.name: path.read_bytes() for path in report.iterdir()}
    # Room for the files that come first, but not for the page with its scripts.
    filler = line.folder / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as handle:
        while True:
            handle.write(bytes(2**12))
    with filler.open("rb+") as handle:
        handle.truncate(filler.stat().st_size - 2**18)
    done = line.ask("report", "sample", "--format", "markdown", "--format", "csv", "--format", "html")
    assert done.code == 2
    assert "cannot be written: No space left on device" in done.err
    assert {path.name: path.read_bytes() for path in report.iterdir()} == before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: x\n" * (MOST_BYTES // 8 + 1), "too large for a spec"),
        (f"a: [{'1,' * 500_000}]", "more than 200,000 keys and values"),
        ("a: &a [1]\n" + "".join(f"a{n + 1}: &a{n + 1} [*a{n or ''}, *a{n or ''}]\n" for n in range(40)), "aliases"),
        (f"a: {'[' * 5000}", "nested more than 20 deep"),
    ],
)
def test_a_spec_of_any_size_is_one_message(tmp_path, text, message):
    (tmp_path / "spec.yaml").write_text(text)
    with pytest.raises(SpecError, match=message) as refused:
        read_spec(tmp_path / "spec.yaml")
    assert len(str(refused.value)) < 300


def test_a_spec_of_a_hundred_megabytes_is_not_read_whole(tmp_path):
    with (tmp_path / "spec.yaml").open("wb") as handle:
        handle.truncate(100 * 2**20)
    done = CommandLine(tmp_path).ask("plan", "spec.yaml")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "too large for a spec: it has more than 8 MiB" in done.err
