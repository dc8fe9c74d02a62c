"""Arrays that are prepared once: the cache, its lock, and what a full disk or a kill leaves."""

import os
import resource
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest

from workers.data.dataset import DataError
from workers.data.prepared import prepared_array, prepared_key

SHAPE = (10, 1, 3, 4)
ROWS = np.arange(np.prod(SHAPE), dtype=np.uint8).reshape(SHAPE)


def in_blocks():
    yield ROWS[:7]
    yield ROWS[7:]


def never():
    raise AssertionError("prepared again")


def files_below(root):
    return sorted(path.name for path in root.rglob("*") if path.is_file() and not path.name.endswith(".lock"))


def test_an_array_is_prepared_once_and_mapped_from_then_on(tmp_path):
    """The second call reads the file, which NumPy reads too."""
    made = prepared_array(tmp_path, "set-1", SHAPE, in_blocks)
    again = prepared_array(tmp_path, "set-1", SHAPE, never)
    for found in (made, again, np.load(tmp_path / ".prepared" / "set-1.npy")):
        assert np.array_equal(found, ROWS)
    assert isinstance(again, np.memmap)
    assert files_below(tmp_path) == ["set-1.npy"]


def test_the_mapping_is_private(tmp_path):
    """Nothing that is done to an array changes what the next process reads."""
    prepared_array(tmp_path, "set", SHAPE, in_blocks)[:] = 0
    assert np.array_equal(prepared_array(tmp_path, "set", SHAPE, never), ROWS)


@pytest.mark.parametrize("damage", ["cut", "longer", "empty", "text", "other shape", "other type", "columns first"])
def test_a_damaged_file_is_prepared_again(tmp_path, damage):
    """Whatever is not a whole array of the right shape and type is replaced."""
    prepared_array(tmp_path, "set", SHAPE, in_blocks)
    path = tmp_path / ".prepared" / "set.npy"
    whole = path.read_bytes()
    if damage in {"cut", "longer", "empty", "text"}:
        path.write_bytes({"cut": whole[:-1], "longer": whole + b"x", "empty": b"", "text": b"not an array"}[damage])
    else:
        other = {"other shape": ROWS[:9], "other type": ROWS.astype(np.int8), "columns first": np.asfortranarray(ROWS)}
        np.save(path, other[damage])
    assert np.array_equal(prepared_array(tmp_path, "set", SHAPE, in_blocks), ROWS)
    assert path.read_bytes() == whole


def test_a_key_is_another_where_a_source_or_the_version_is(tmp_path):
    """The name, the version, and of each file its name, size and time of change count."""
    source = tmp_path / "images"
    source.write_bytes(b"one")
    os.utime(source, ns=(0, 1))
    keys = [prepared_key("set", 1, [source]), prepared_key("set", 2, [source]), prepared_key("other", 1, [source])]
    assert prepared_key("set", 1, [source]) == keys[0]
    os.utime(source, ns=(0, 2))
    keys.append(prepared_key("set", 1, [source]))
    source.write_bytes(b"longer")
    os.utime(source, ns=(0, 1))
    keys.append(prepared_key("set", 1, [source]))
    keys.append(prepared_key("set", 1, [source.rename(tmp_path / "renamed")]))
    assert len(set(keys)) == len(keys)
    assert keys[0].startswith("set-")


def test_of_many_who_want_it_at_once_one_prepares(tmp_path):
    """The others wait, and read what it wrote."""
    together, prepared, found = threading.Barrier(6), [], []

    def blocks():
        prepared.append(threading.get_ident())
        return in_blocks()

    def want():
        together.wait()
        found.append(prepared_array(tmp_path, "set", SHAPE, blocks))

    threads = [threading.Thread(target=want) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(prepared) == 1
    assert len(found) == 6
    assert all(np.array_equal(array, ROWS) for array in found)


def test_a_process_killed_while_preparing_is_in_no_ones_way(tmp_path):
    """Its lock goes with it, and the next attempt writes over its half."""
    program = (
        "import sys, time, pathlib, numpy as np\n"
        "from workers.data.prepared import prepared_array\n"
        "def blocks():\n"
        "    yield np.zeros((7, 1, 3, 4), np.uint8)\n"
        "    print('half', flush=True)\n"
        "    time.sleep(600)\n"
        "prepared_array(pathlib.Path(sys.argv[1]), 'set', (10, 1, 3, 4), blocks)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"half\n"
        process.send_signal(signal.SIGKILL)
    assert files_below(tmp_path) == [".set.npy.tmp"]
    assert np.array_equal(prepared_array(tmp_path, "set", SHAPE, in_blocks), ROWS)
    assert files_below(tmp_path) == ["set.npy"]


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        ([ROWS[:9]], "the blocks have 9 rows; set.npy has 10"),
        ([ROWS, ROWS], "the blocks have 20 rows"),
        ([ROWS[:, :, :2]], r"a block is uint8 \(10, 1, 2, 4\)"),
        ([ROWS.astype(np.float32)], "a block is float32"),
    ],
)
def test_blocks_that_are_not_the_array_are_refused(tmp_path, blocks, message):
    """A preparation that is wrong is never kept."""
    with pytest.raises(ValueError, match=message):
        prepared_array(tmp_path, "set", SHAPE, lambda: blocks)
    assert files_below(tmp_path) == []


def test_what_the_source_says_is_passed_on(tmp_path):
    """A damaged image ends the preparation with its own message, and leaves nothing."""

    def damaged():
        yield ROWS[:7]
        raise DataError("image 8 is damaged")

    with pytest.raises(DataError, match=r"^image 8 is damaged$"):
        prepared_array(tmp_path, "set", SHAPE, damaged)
    assert files_below(tmp_path) == []


def refused(root, shape=SHAPE, blocks=in_blocks):
    with pytest.raises(DataError) as refusal:
        prepared_array(root, "set", shape, blocks)
    message = str(refusal.value)
    assert message.startswith(f"{root / '.prepared' / 'set.npy'}: cannot be prepared (")
    assert message.endswith("or choose another data folder with --data or MRVAE_DATA")
    return message


def test_a_disk_that_fills_up_leaves_nothing_half_written(tmp_path):
    """A limit on the size of files simulates a full disk, so that the write itself fails."""
    shape = (64, 1, 64, 64)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        message = refused(tmp_path, shape, lambda: iter(np.zeros((64, 1, 1, 64, 64), np.uint8)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "no space is left" in message
    assert files_below(tmp_path) == []


def test_a_disk_without_room_is_refused_before_anything_is_prepared(tmp_path):
    """The message has what is needed; nothing is decoded for minutes first."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], check=False).returncode:
        pytest.skip("needs the right to mount a small file system")
    try:
        assert "(0.02 GB): no space is left" in refused(disk, (4883, 1, 64, 64), lambda: map(pytest.fail, ["decoded"]))
        assert files_below(disk) == []
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    """A file has the folder's name."""
    (tmp_path / ".prepared").write_text("")
    assert "exists" in refused(tmp_path)
