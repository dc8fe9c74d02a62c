"""Checkpoints: safetensors with a hash, the last two kept, damaged ones skipped."""

import pytest
import torch

from workers.store.store import Store
from workers.training.checkpoint import FINAL, Checkpoint, TrainingCheckpoints


@pytest.fixture
def checkpoints(tmp_path):
    return TrainingCheckpoints(Store(tmp_path).trial("ab" * 32))


def checkpoint(step: int) -> Checkpoint:
    return Checkpoint({"w": torch.full((64,), float(step))}, {"step": step})


def test_round_trip_keeps_every_bit():
    """Tensors of any type and shape, and the progress, come back as they were."""
    tensors = {
        "double": torch.randn(3, dtype=torch.float64),
        "scalar": torch.tensor(3.5),
        "bfloat": torch.randn(2, 2).to(torch.bfloat16),
        "channels_last": torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last),
        "empty": torch.zeros(0),
    }
    read = Checkpoint.from_bytes(Checkpoint(tensors, {"history": [{"elbo": -0.1}]}).to_bytes())
    assert read.progress == {"history": [{"elbo": -0.1}]}
    assert all(torch.equal(read.tensors[name], tensor) for name, tensor in tensors.items())


def test_the_last_two_are_kept(checkpoints):
    """Older checkpoints are removed as new ones are written."""
    for step in range(5):
        checkpoints.save(step, checkpoint(step))
    assert checkpoints.folder.names("checkpoint/*") == [
        "checkpoint/step-000000003.safetensors",
        "checkpoint/step-000000004.safetensors",
    ]
    assert checkpoints.latest().progress == {"step": 4}


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "noise"])
def test_damaged_checkpoint_is_passed_over_with_a_warning(checkpoints, damage):
    """The previous checkpoint is returned, and the warning names the file."""
    for step in (1, 2):
        checkpoints.save(step, checkpoint(step))
    path = checkpoints.folder.path() / "checkpoint/step-000000002.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= damage == "flipped"
    path.write_bytes({"cut": content[:-7], "flipped": content, "empty": b"", "noise": b"\xff" * 99}[damage])
    with pytest.warns(UserWarning, match="step-000000002.safetensors: .*trying the previous checkpoint"):
        assert checkpoints.latest().progress == {"step": 1}


def test_pickles_are_never_loaded(checkpoints, tmp_path):
    """A torch pickle in place of a checkpoint is a damaged file, not code that runs."""

    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    path = checkpoints.folder.path() / "checkpoint/step-000000001.safetensors"
    path.parent.mkdir(parents=True)
    torch.save({"w": Bomb()}, path)
    with pytest.warns(UserWarning, match="not a complete checkpoint"):
        assert checkpoints.latest() is None
    assert not (tmp_path / "ran").exists()


def test_finished_trial_keeps_its_weights_only(checkpoints):
    """The trained model is one file; what only further training would need is removed."""
    checkpoints.save(1, checkpoint(1))
    checkpoints.finish(checkpoint(1))
    checkpoints.clear()
    assert checkpoints.folder.names("checkpoint/*") == [FINAL]
