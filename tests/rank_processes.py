"""The ranks of a process group as real processes: each runs one job of this file after another, for several tests.

torch takes seconds to import, so a process is worth keeping. Jobs are called by name, in the test's process too.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
import pickle
import signal
import socket
import subprocess
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from models.architectures.mlp import MLP
from models.architectures.registry import configure
from models.layers.modules import build_vae
from models.layers.tables import Convolution, Dense, Table, TransposedConvolution
from workers.data.dataset import DataError
from workers.data.digits import Digits
from workers.data.generated.phrases import Phrases
from workers.data.published.mnist import MNIST
from workers.data.resident import Images
from workers.data.split import ResidentData
from workers.distributed.process_group import ProcessGroup
from workers.distributed.ranks import SINGLE_PROCESS, RankInfo
from workers.outcome import Outcome
from workers.running import checkpointer
from workers.running.context import Context
from workers.running.run import run_trial
from workers.store.store import Store
from workers.training.state import TrainingState
from workers.trial import (
    BetaVAE,
    Evaluation,
    IntermediateEvaluation,
    MultiRateVAE,
    Objective,
    Resources,
    Training,
    Trial,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CPU = torch.device("cpu")
MR = MultiRateVAE(0.01, 10.0)
EVERY_STEP = 0.0
"""The `CHECKPOINT_SHARE` of a run that checkpoints after every step, whatever a checkpoint takes."""


@dataclasses.dataclass(frozen=True)
class Mixing(MLP):
    """An architecture of somebody else whose decoder sees the mean of its batch."""

    name = "mixing"

    def build(self, shape, likelihood, gating):
        model = build_vae(Table((Dense((8,)),), (Dense(shape, relu=False),)), shape, 4, likelihood, gating)
        decoder = model.decoder.forward
        model.decoder.forward = lambda z, condition: decoder(z - z.mean(0), condition)
        return model


@dataclasses.dataclass(frozen=True)
class Normed(MLP):
    """Convolutions with batch norm like those of `Conv`, in a size that a test can train."""

    name = "normed"

    def build(self, shape, likelihood, gating):
        encoder = (Convolution(8, kernel=4, stride=2, padding=1, norm=True), Convolution(16, 3, 1, 1, norm=True))
        decoder = (
            Dense((16, 4, 4), gated=False),
            TransposedConvolution(8, kernel=3, stride=1, padding=1, norm=True),
            TransposedConvolution(1, kernel=4, stride=2, padding=1, gated=False, relu=False),
        )
        return build_vae(Table(encoder, decoder), shape, 4, likelihood, gating)


def random_images(examples: int) -> Images:
    pixels = torch.randint(256, (examples, 1, 28, 28), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    return Images(pixels, None, dynamic=True, flip=True)


def trial_of(case: str) -> tuple[Trial, Images]:
    """Return a small trial and its training data; two and three ranks share its batches unequally."""
    name, _, kind = case.partition("/")
    method = MR if kind == "mr" else BetaVAE(0.5)
    digits = Digits(train_limit=70)
    training = Training(epochs=1, batch_size=35, clip_norm=5.0)
    if name == "lstm":
        lstm = configure("lstm", latent_units=4, layout="texar", embedding_units=16, hidden_units=24)
        text = Phrases(train_limit=70)
        return Trial(text, lstm, Objective("categorical"), method, training, 0), text.load(Path()).train
    if name == "resnet":
        few = Training(epochs=1, batch_size=5)
        trial = Trial(MNIST(binarise="dynamic"), configure(name, latent_units=4), Objective(), method, few, 0)
        return trial, random_images(5)
    own = {"mixing": Mixing(), "normed": Normed()}
    architecture = own.get(name) or configure(name.removesuffix("-tc"), latent_units=4)
    objective = {"linear": Objective("squared-error"), "mlp-tc": Objective(name="beta-tcvae")}.get(name, Objective())
    return Trial(digits, architecture, objective, method, training, 0), digits.load(Path()).train


def trained(case: str, place: RankInfo | None) -> dict[str, Any]:
    """Return the gradients of the first step and what one epoch of training made of the trial."""
    torch.set_num_threads(1)
    trial, data = trial_of(case)
    with (
        ProcessGroup(place, trial.trial_id, lambda: False) if place else contextlib.nullcontext(SINGLE_PROCESS) as group
    ):
        group.connect(CPU)
        state = TrainingState(trial, data, CPU, group)
        first = {}
        for indices in state.sampler.batches(0):
            state.advance(indices)
            if not first:
                first = {name: weight.grad.numpy().copy() for name, weight in state.model.named_parameters()}
                running = {name: each.numpy().copy() for name, each in state.model.named_buffers()}
        row = state.finish_epoch(0.0)
        weights = {name: tensor.numpy() for name, tensor in state.model.state_dict().items()}
        del state
        if place and place.rank == 0:
            group.end(Outcome("done"))
        elif place:
            group.await_outcome()
    return {"gradients": first, "running": running, "state": weights, "row": row}


class Watched(Images):
    """Images that call `watch` with the number of each batch, from 1: that of the step after the first, a check's."""

    watch: Callable[[int], None]
    numbers: Iterator[int]

    def batch(self, indices, generator):
        self.watch(next(self.numbers))
        return super().batch(indices, generator)

    def to(self, device):
        assert device == CPU
        return self


def watched(images: Images, watch: Callable[[int], None]) -> Watched:
    found = Watched(**{field.name: getattr(images, field.name) for field in dataclasses.fields(Images)})
    object.__setattr__(found, "watch", watch)
    object.__setattr__(found, "numbers", itertools.count(1))
    return found


def run(place: RankInfo | None, store: str, **options: Any) -> Outcome:
    """Run a small trial to its end; options are those of `prepared`."""
    torch.set_num_threads(1)
    trial, context = prepared(store, place, **options)
    return run_trial(trial, context)


def prepared(
    store: str,
    place: RankInfo | None = None,
    *,
    stop_at: int | None = None,
    kill_at: int | None = None,
    break_at: int | None = None,
    betas: int = 2,
    metrics: tuple[str, ...] = ("active_units",),
    limit: int = 100,
    intermediate: int = 0,
    **training: Any,
) -> tuple[Trial, Context]:
    """Return the trial and its context: it stops, or breaks, or the process dies, at a batch of this rank's."""
    training = {"epochs": 4, "batch_size": 35, **training}
    trial = Trial(
        Digits(train_limit=140),
        configure("mlp", hidden=[32], latent_units=4),
        Objective(),
        MR,
        Training(**training),
        seed=0,
    )
    data = trial.dataset.load(Path())
    reached = [0]

    def watch(number: int) -> None:
        reached[0] = number
        if number == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        if number == break_at:
            raise DataError("image 17 is damaged")

    data = ResidentData(watched(data.train, watch), data.validation, data.test)

    evaluation = Evaluation(
        tuple(0.1 * 1.001**number for number in range(betas)), metrics=metrics, pictures=0, limit=limit
    )
    context = Context(
        Store(Path(store)),
        "ranks",
        evaluation,
        Resources(ranks=place.size if place else 1),
        load_data=lambda _: data,
        intermediate_evaluation=IntermediateEvaluation(intermediate, Evaluation((1.0,))) if intermediate else None,
        should_stop=lambda: stop_at is not None and reached[0] >= stop_at,
        checkpoint_seconds=0.0,
        rank=place,
    )
    return trial, context


class Rank:
    """A process that runs jobs."""

    def __init__(self) -> None:
        pipe = subprocess.PIPE
        # -P: the folder of this file has one of the name of a room, `evaluation`.
        self.process = subprocess.Popen([sys.executable, "-P", __file__], stdin=pipe, stdout=pipe)

    def start(self, job: str, arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
        pickle.dump((job, arguments, options), self.process.stdin)
        self.process.stdin.flush()

    def result(self) -> Any:
        """Return what the job did. Raises EOFError where the process died."""
        found, trace = pickle.load(self.process.stdout)  # noqa: S301 (the test's own)
        assert trace is None, trace
        return found

    def end(self) -> int:
        """End the process and return its exit status."""
        self.process.stdin.close()
        status = self.process.wait()
        self.process.stdout.close()
        return status


def places(size: int) -> list[RankInfo]:
    """Return the ranks of a process group that meets at a free port of this machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    return [RankInfo(rank, size, address) for rank in range(size)]


def main() -> None:
    """Run the jobs that come in, until there are no more."""
    checkpointer.CHECKPOINT_SHARE = EVERY_STEP
    # gloo's C++ prints to the standard output too, now and then: not into the middle of a reply.
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    while True:
        try:
            job, arguments, options = pickle.load(sys.stdin.buffer)  # noqa: S301 (the test's own)
        except EOFError:
            return
        try:
            reply = (globals()[job](*arguments, **options), None)
        except Exception:  # noqa: BLE001 (the test raises it)
            reply = (None, traceback.format_exc())
        pickle.dump(reply, replies)
        replies.flush()


if __name__ == "__main__":
    main()
