"""dSprites: a file in its format is read, shuffled and mapped; a wrong one is refused by its row."""

from __future__ import annotations

import hashlib
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import torch

from workers.data.dataset import DataError
from workers.data.published import dsprites
from workers.data.published.dsprites import DSprites
from workers.data.published.fetching import fetch
from workers.data.resident import MappedImages
from workers.seeding import generator

SIZES = (3, 2, 1, 2, 5)
EXAMPLES = 60


class SmallDSprites(DSprites):
    """The same file with fewer and smaller images; an image's pixels are not a whole number of bytes as bits."""

    shape = (1, 3, 5)
    factor_sizes = SIZES


def arrays(**changes):
    """Return the arrays of the published file, in its types: a grid in order, and metadata that must stay unread."""
    made = {
        "imgs": np.random.default_rng(0).integers(0, 2, (EXAMPLES, 3, 5), dtype=np.uint8),
        "latents_classes": np.stack(np.unravel_index(np.arange(EXAMPLES), (1, *SIZES)), axis=1),
        "latents_values": np.zeros((EXAMPLES, 6)),
        "metadata": np.array({"title": "an object, which only unpickling could read"}, dtype=object),
    }
    return {key: array for key, array in {**made, **changes}.items() if array is not None}


def write(root, **changes):
    (path,) = SmallDSprites().locate(root)
    path.parent.mkdir(exist_ok=True)
    np.savez_compressed(path, **arrays(**changes))
    return path


def refusal(root):
    with pytest.raises(DataError) as caught:
        SmallDSprites().load(root)
    assert "\n" not in str(caught.value)
    assert not list((root / ".prepared").glob("*.npy"))
    return str(caught.value)


@pytest.mark.parametrize("block", [1, 7, 4096])
def test_every_image_is_there_with_its_factors(tmp_path, monkeypatch, block):
    """Bit by bit, in an order of ours, 1 being white, in whatever blocks they are read."""
    monkeypatch.setattr(dsprites, "BLOCK", block)
    write(tmp_path)
    data = SmallDSprites().load(tmp_path)
    assert isinstance(data.test, MappedImages)
    assert [len(data.split(name)) for name in ("train", "validation", "test")] == [EXAMPLES, 0, EXAMPLES]
    rows = np.ravel_multi_index(tuple(data.test.factors.T.numpy()), SIZES)
    assert sorted(rows) == list(range(EXAMPLES)) != rows.tolist()
    assert np.array_equal(data.test.pixels[:, 0].numpy(), 255 * arrays()["imgs"][rows])
    assert torch.equal(data.test.labels, data.test.factors[:, 0])
    batch = data.train.batch(torch.arange(EXAMPLES), generator(torch.device("cpu"), 0, "step", 0))
    assert np.array_equal(batch[:, 0].numpy(), arrays()["imgs"][rows].astype(np.float32))


def test_train_and_test_are_all_images_and_limits_keep_the_first(tmp_path):
    """The paper trains and evaluates on all; the order is the same in both, and in each run."""
    write(tmp_path)
    whole, part = (SmallDSprites(train_limit=limit).load(tmp_path) for limit in (0, 8))
    assert torch.equal(whole.train.pixels, whole.test.pixels)
    assert torch.equal(part.train.pixels, whole.test.pixels[:8])
    assert torch.equal(part.test.first(8).factors, part.train.factors)


def test_the_file_is_read_once(tmp_path, monkeypatch):
    """Another run maps the prepared file, and a changed source is prepared again."""
    path = write(tmp_path)
    first = SmallDSprites().load(tmp_path).test.pixels
    monkeypatch.setattr(SmallDSprites, "_read", lambda *_: pytest.fail("it was read again"))
    assert torch.equal(SmallDSprites().load(tmp_path).test.pixels, first)
    monkeypatch.undo()
    path.unlink()
    write(tmp_path, imgs=np.ones((EXAMPLES, 3, 5), np.uint8), latents_values=np.ones((EXAMPLES, 6)))
    assert SmallDSprites().load(tmp_path).test.pixels.unique().tolist() == [255]


def test_the_published_sizes():
    """737,280 images of 64×64, five factors that vary, pixels that are 0 or 1."""
    dataset = DSprites()
    assert dataset.shape == (1, 64, 64)
    assert dataset.train_examples == dataset.test_examples == 737_280
    assert dict(zip(dataset.factor_names, dataset.factor_sizes, strict=True)) == {
        "shape": 3,
        "scale": 6,
        "orientation": 40,
        "x": 32,
        "y": 32,
    }
    assert dataset.is_binary
    assert dataset.splits == ("train", "test")


def test_the_order_is_the_same_on_every_machine():
    """Golden digest of the shuffled grid of all 737,280 images."""
    order = DSprites().order()
    assert (
        hashlib.sha256(order.astype("<i8").tobytes()).hexdigest()
        == "e70e95387557d4837125cec9d1c249efe5c79f8c06ac10657ec5eecc01119c40"
    )


def changed(array, index, value):
    array = array.copy()
    array[index] = value
    return array


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"imgs": None}, "it has no array 'imgs'"),
        ({"latents_classes": None}, "it has no array 'latents_classes'"),
        ({"imgs": np.zeros((EXAMPLES, 5, 3), np.uint8)}, "'imgs' has shape (60, 5, 3), and should have (60, 3, 5)"),
        ({"imgs": np.zeros((59, 3, 5), np.uint8)}, "'imgs' has shape (59, 3, 5)"),
        ({"imgs": np.zeros((EXAMPLES, 3, 5), np.float32)}, "'imgs' is float32, rows first; images are uint8"),
        ({"imgs": np.asfortranarray(np.zeros((EXAMPLES, 3, 5), np.uint8))}, "'imgs' is uint8, columns first"),
        ({"imgs": changed(arrays()["imgs"], (41, 2, 4), 255)},
         "row 41 of 'imgs' has a pixel of 255; pixels are 0 or 1"),
        ({"latents_classes": arrays()["latents_classes"][:, 1:]}, "'latents_classes' has shape (60, 5)"),
        ({"latents_classes": changed(arrays()["latents_classes"], (33, 5), 0)},
         "row 33 of 'latents_classes' is [0, 1, 1, 0, 0, 0], and should be [0, 1, 1, 0, 0, 3]"),
        ({"latents_classes": np.full((EXAMPLES, 6), None)}, "Object arrays cannot be loaded"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_named_with_its_array_and_row(tmp_path, monkeypatch, changes, message):
    """Rows count from 0, whatever block they are in, and nothing is left prepared or unpickled."""
    monkeypatch.setattr(dsprites, "BLOCK", 8)
    path = write(tmp_path, **changes)
    text = refusal(tmp_path)
    assert text.startswith(f"{path}: ")
    assert message in text
    assert text.endswith("get it again with `mrvae-orch data fetch dsprites --again`")


@pytest.mark.parametrize("damage", ["empty", "text", "cut", "flipped"])
def test_a_damaged_file_is_named(tmp_path, damage):
    """Files of another kind, files that end early, and files whose bytes have changed."""
    path = write(tmp_path)
    whole = bytearray(path.read_bytes())
    whole[whole.index(b"imgs.npy") + 120] ^= 255  # in the compressed pixels
    path.write_bytes({"empty": b"", "text": b"<html>", "cut": path.read_bytes()[:-60], "flipped": bytes(whole)}[damage])
    text = refusal(tmp_path)
    assert text.startswith(f"{path}: is not dSprites, or damaged: ")


def test_a_missing_file_says_how_to_get_it(tmp_path):
    text = refusal(tmp_path)
    assert str(tmp_path / "dsprites" / dsprites.FILE) in text
    assert "mrvae-orch data fetch dsprites" in text


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        """Say nothing of requests."""


@pytest.fixture
def answer(tmp_path, monkeypatch):
    """The file that a server on this machine answers with, at the address that is fetched from."""
    path = tmp_path / "answer" / "dsprites" / dsprites.FILE
    path.parent.mkdir(parents=True)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(path.parent))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(SmallDSprites, "address", f"http://127.0.0.1:{server.server_port}/{dsprites.FILE}")
        yield path
        server.shutdown()


def test_fetching_puts_the_file_in_its_place(tmp_path, answer):
    """What was fetched is loaded."""
    write(tmp_path / "answer")
    root = tmp_path / "data"
    fetch(SmallDSprites(), root)
    assert [path for path in root.rglob("*") if path.is_file()] == SmallDSprites().locate(root)
    assert len(SmallDSprites().load(root).test) == EXAMPLES
    assert answer.is_file()


@pytest.mark.parametrize("content", [None, b"<html>Not found</html>", "cut"])
def test_what_cannot_be_fetched_changes_nothing(tmp_path, answer, content):
    """One error that names the file's place; a file that is there stays as it is."""
    path = write(tmp_path)
    before = path.read_bytes()
    if content is not None:
        answer.write_bytes(before[:-60] if content == "cut" else content)
    with pytest.raises(DataError) as caught:
        fetch(SmallDSprites(), tmp_path)
    assert str(path) in str(caught.value)
    assert list(path.parent.iterdir()) == [path]
    assert path.read_bytes() == before


def test_binarisation_would_change_nothing_and_is_refused():
    with pytest.raises(ValueError, match="binarise is 'static', but every pixel of dsprites is 0 or 1 already"):
        DSprites(binarise="static")
