"""An entry of the cache is computed once for all processes, and again where it is damaged or for other content."""

import threading
from dataclasses import replace

import pytest
import torch

from workers.data.resident import Images
from workers.measuring.feature_cache import CONTENT, content_digest, load_or_make
from workers.store.store import Folder
from workers.training.checkpoint import Checkpoint


def made(value=1.0):
    return Checkpoint({"w": torch.full((3,), value)}, {"value": value})


def never():
    raise AssertionError("made, or waited for, again")


def test_it_is_made_once_and_read_from_then_on(tmp_path):
    first = load_or_make(Folder(tmp_path), "key", made, never)
    again = load_or_make(Folder(tmp_path), "key", never, never)
    assert first.progress == again.progress == {"value": 1.0}
    assert torch.equal(first.tensors["w"], again.tensors["w"])


def test_another_key_is_another_thing(tmp_path):
    load_or_make(Folder(tmp_path), "one", made, never)
    assert load_or_make(Folder(tmp_path), "two", lambda: made(2.0), never).progress == {"value": 2.0}


@pytest.mark.parametrize("damage", ["cut", "changed", "empty"])
def test_a_damaged_file_is_made_again_with_a_warning(tmp_path, damage):
    load_or_make(Folder(tmp_path), "key", made, never)
    path = tmp_path / "key" / CONTENT
    whole = path.read_bytes()
    path.write_bytes({"cut": whole[:-1], "changed": whole[:-1] + b"x", "empty": b""}[damage])
    with pytest.warns(UserWarning, match=r"key/content\.safetensors: .*; it will be computed again"):
        assert load_or_make(Folder(tmp_path), "key", made, never).progress == {"value": 1.0}
    assert load_or_make(Folder(tmp_path), "key", never, never).progress == {"value": 1.0}


def test_what_fails_to_be_made_leaves_nothing_in_the_way(tmp_path):
    with pytest.raises(AssertionError, match="made"):
        load_or_make(Folder(tmp_path), "key", never, never)
    assert load_or_make(Folder(tmp_path), "key", made, never).progress == {"value": 1.0}


def test_of_two_that_ask_one_makes_and_the_other_waits(tmp_path):
    """The first process computes until the second one waits."""
    begun, waiting = threading.Event(), threading.Event()
    found = []

    def make():
        begun.set()
        assert waiting.wait(60)
        return made()

    first = threading.Thread(target=lambda: found.append(load_or_make(Folder(tmp_path), "key", make, never)))
    first.start()
    assert begun.wait(60)
    found.append(load_or_make(Folder(tmp_path), "key", never, waiting.set))
    first.join()
    assert [each.progress for each in found] == [{"value": 1.0}] * 2


def test_who_waits_can_be_stopped(tmp_path):
    def stop():
        raise InterruptedError

    with Folder(tmp_path / "key").try_lock() as held:
        assert held
        with pytest.raises(InterruptedError):
            load_or_make(Folder(tmp_path), "key", never, stop)


IMAGES = Images(torch.arange(24, dtype=torch.uint8).reshape(2, 1, 3, 4), torch.tensor([0, 1]))


@pytest.mark.parametrize(
    "changed",
    [
        {"pixels": IMAGES.pixels.flip(0)},
        {"pixels": IMAGES.pixels.reshape(2, 1, 4, 3)},
        {"pixels": IMAGES.pixels[:1], "labels": IMAGES.labels[:1]},
        {"labels": torch.tensor([1, 1])},
        {"labels": None},
        {"dynamic": True},
        {"flip": True},
    ],
)
def test_the_digest_is_of_the_content(changed):
    assert content_digest(replace(IMAGES, **changed), {}) != content_digest(IMAGES, {})


def test_the_digest_is_of_the_settings_and_nothing_else():
    again = Images(IMAGES.pixels.clone(), IMAGES.labels.clone())
    assert content_digest(again, {"a": 1}) == content_digest(IMAGES, {"a": 1})
    assert content_digest(IMAGES, {"a": 2}) != content_digest(IMAGES, {"a": 1})


def test_the_digest_is_golden_and_of_every_block():
    """Another one would throw away all that stores keep."""
    many = Images(torch.arange(3000 * 4).reshape(3000, 1, 2, 2).to(torch.uint8), None)
    last = many.pixels.clone()
    last[-1, 0, 0, 0] += 1
    assert content_digest(many, {}) != content_digest(Images(last, None), {})
    assert content_digest(IMAGES, {})[:16] == "74a460dfe217dd56"
