"""The training of one trial: a state that can stop after any step and go on from it, and the loop over its steps."""

from __future__ import annotations

import copy
import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import torch

from evaluation.records import HistoryRow
from models.annealing import annealing_weight
from models.architecture import Gating
from models.objectives import BATCH_WIDE, OBJECTIVES
from workers.checkpoint import Checkpoint
from workers.conditioning import condition_on, training_betas
from workers.data.sampler import EpochSampler
from workers.gang import ALONE, collective_errors
from workers.seeding import derive_seed, generator, seeded_initialisation
from workers.sharing import data_parallel, shared_network, whole_evidence
from workers.trial import BetaVAE, MultiRateVAE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import nn

    from models.vae import VAE, Evidence
    from workers.data.split import Split
    from workers.gang import Alone
    from workers.trial import Training, Trial

WARMUP_START = 1e-10
COSINE_END = 1e-6
"""Learning rates at the two ends of the published schedule (Bae et al., 2023, appendix C)."""
IMAGE_AXES = 4
"""Examples, channels, height and width: what has a memory layout to choose."""
SAME_LOSS = 1e-2
"""Relative difference of a loss that bfloat16 may explain, but no other batch."""
CUDA_CHECK_STEPS = 50
"""On a GPU, reading a loss waits for the device: so many steps are checked for infinities at once."""


class TrialFailed(Exception):  # noqa: N818 (the pair is TrialFailed and an interruption: a state, not an accident)
    """The trial itself cannot be trained: trying again ends the same way."""


def learning_rate(training: Training, epoch: int) -> float:
    """Return the learning rate of an epoch: linear warm-up, then constant or cosine, stepped per epoch."""
    peak, warmup = training.learning_rate, training.warmup_epochs
    if epoch < warmup:
        return WARMUP_START + (peak - WARMUP_START) * epoch / warmup
    if training.schedule == "constant":
        return peak
    progress = (epoch - warmup) / (training.epochs - warmup)
    return COSINE_END + (peak - COSINE_END) * (1 + math.cos(math.pi * progress)) / 2


def beta_weight(trial: Trial, epoch: int) -> float:
    """Return the factor that KL annealing puts on β in an epoch; an MR-VAE has none (Bae et al., 2023, section 3)."""
    if not isinstance(trial.method, BetaVAE):
        return 1.0
    return annealing_weight(trial.method.annealing, epoch / trial.training.epochs)


def build_model(trial: Trial) -> VAE:
    """Return the trial's model with its initial weights, on the CPU."""
    method = trial.method
    gating = Gating(method.encoder_gate, method.decoder_gate) if isinstance(method, MultiRateVAE) else None
    with seeded_initialisation(trial.seed):
        return trial.architecture.build(trial.dataset.shape, trial.objective.likelihood, gating)


class TrainingState:
    """Model, optimiser and progress of a trial: `advance` is one step, `checkpoint` and `restore` stop and go on.

    In a gang every rank has one, makes it at the same time, and has all of it alike after every step.
    """

    def __init__(self, trial: Trial, data: Split, device: torch.device, gang: Alone = ALONE) -> None:
        self.trial = trial
        self.gang = gang
        self.device = device
        self.data = data
        self.layout = torch.channels_last if trial.training.channels_last else torch.contiguous_format
        self.model = build_model(trial).to(device, memory_format=self.layout)  # type: ignore[call-overload]  # torch's stubs lack this form
        self.model.train()
        self.optimiser = torch.optim.Adam(self.model.parameters(), fused=True)
        self.sampler = EpochSampler(len(data), trial.training.batch_size, trial.seed, data.lengths)
        self.losses = _LossCheck(device)
        self.step = 0
        self.history: list[HistoryRow] = []
        self.seconds_before_epoch = 0.0
        self.work = 0.0
        """Of the last step, in examples: a batch of short sentences is less than its number."""
        self._sums = torch.zeros(3, dtype=torch.float64, device=device)
        self._share = gang.slice_of(self.sampler.batch_size)
        self._network: nn.Module = self.model if gang.size == 1 else self._gang_network()

    @property
    def epoch(self) -> int:
        """The epoch of the next step."""
        return self.step // self.sampler.steps_per_epoch

    @property
    def step_in_epoch(self) -> int:
        """The number of the next step within its epoch."""
        return self.step % self.sampler.steps_per_epoch

    @property
    def finished(self) -> bool:
        """Whether all epochs are done and recorded."""
        return len(self.history) >= self.trial.training.epochs

    def advance(self, indices: torch.Tensor) -> None:
        """Take one optimisation step on the examples at `indices`. Raises TrialFailed on a loss that is not finite."""
        training, seed = self.trial.training, self.trial.seed
        random = generator(self.device, seed, "step", self.step)
        x = self.data.batch(indices, random)
        self.work = len(x) * self.data.share_of_longest(x)
        if self.model.draws_on_its_own:
            torch.manual_seed(derive_seed(seed, "dropout", self.step))
        betas = training_betas(self.trial.method, len(x), random)
        noise = self._noise(len(x), random)
        # All of these are of the whole batch, on every rank, so that they hang on no number of ranks.
        evidence, loss = self._losses(self._network, x, betas, noise, self._share)
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(training, self.epoch)
        self.optimiser.zero_grad(set_to_none=True)
        sums = torch.stack([loss.sum(), evidence.distortion.sum(), evidence.rates.sum()]).detach().double()
        sums_of_all = self.gang.total(sums)
        with collective_errors():
            # The ranks' gradients are averaged, and their slices of the batch may differ in length.
            (loss.mean() if self.gang.size == 1 else loss.sum() * (self.gang.size / len(x))).backward()
        if training.clip_norm:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), training.clip_norm)
        self.optimiser.step()
        self._sums += sums_of_all()
        self.losses.add(self.step, betas[self._share], loss.detach())
        self.step += 1

    def finish_epoch(self, train_seconds: float) -> HistoryRow:
        """Close the epoch whose last step was just taken; `train_seconds` is the training time so far."""
        self.losses.check()
        epoch = self.step // self.sampler.steps_per_epoch - 1
        images = self.sampler.steps_per_epoch * self.sampler.batch_size
        loss, distortion, rate = (self._sums / images).tolist()
        row = HistoryRow(
            trial_id=self.trial.trial_id,
            epoch=epoch,
            step=self.step,
            learning_rate=learning_rate(self.trial.training, epoch),
            beta_weight=beta_weight(self.trial, epoch),
            loss=loss,
            distortion=distortion,
            rate_nats=rate,
            elbo=-(distortion + rate),
            images=images,
            seconds=train_seconds - self.seconds_before_epoch,
        )
        self.history.append(row)
        self.seconds_before_epoch = train_seconds
        self._sums.zero_()
        return row

    def checkpoint(self, train_seconds: float) -> Checkpoint:
        """Return all that is needed to go on. Raises TrialFailed where a weight is not finite."""
        self.losses.check()
        self._check_weights()
        tensors = {"progress.sums": self._sums}
        tensors |= {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        for index, moments in self.optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{index}.{name}": tensor for name, tensor in moments.items()}
        progress = {
            "step": self.step,
            "history": [asdict(row) for row in self.history],
            "seconds_before_epoch": self.seconds_before_epoch,
            "train_seconds": train_seconds,
        }
        return Checkpoint(tensors=tensors, progress=progress)

    def restore(self, checkpoint: Checkpoint) -> float:
        """Go on from a checkpoint; returns the training seconds that led to it."""
        tensors, progress = checkpoint.tensors, checkpoint.progress
        self.model.load_state_dict(_below(tensors, "model."))
        self._restore_moments(_below(tensors, "optimiser."))
        self._sums.copy_(tensors["progress.sums"])
        self.step = progress["step"]
        self.history = [HistoryRow(**row) for row in progress["history"]]
        self.seconds_before_epoch = progress["seconds_before_epoch"]
        return float(progress["train_seconds"])

    def trained_model(self) -> Checkpoint:
        """Return the weights alone."""
        tensors = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        return Checkpoint(tensors=tensors, progress={"step": self.step, "trial_id": self.trial.trial_id})

    def _losses(
        self, network: nn.Module, x: torch.Tensor, betas: torch.Tensor, noise: Sequence[torch.Tensor], share: slice
    ) -> tuple[Evidence, torch.Tensor]:
        """Return the evidence and the losses of a share of a batch."""
        mine = x[share]
        if x.dim() == IMAGE_AXES:
            mine = mine.to(memory_format=self.layout)
        condition = condition_on(self.trial.method, betas[share])
        with (
            collective_errors(),
            torch.autocast(self.device.type, torch.bfloat16, enabled=self.trial.training.precision == "bfloat16"),
        ):
            evidence = network(mine, condition, [each[share] for each in noise])
        weights = betas * beta_weight(self.trial, self.epoch)
        objective = OBJECTIVES[self.trial.objective.name]
        if len(mine) < len(x) and self.trial.objective.name in BATCH_WIDE:
            return evidence, objective(whole_evidence(evidence, self.gang, len(x)), weights, len(self.data))[share]
        return evidence, objective(evidence, weights[share], len(self.data))

    def _noise(self, examples: int, random: torch.Generator) -> list[torch.Tensor]:
        return [
            torch.randn(examples, *shape, generator=random, device=self.device) for shape in self.model.latent_shapes
        ]

    def _gang_network(self) -> nn.Module:
        """Return the network of a rank. Raises TrialFailed where the ranks cannot share the trial's batches."""
        examples, size = self.sampler.batch_size, self.gang.size
        if examples < size:
            raise TrialFailed(f"{size} ranks cannot share a batch of {examples}; set resources.ranks to it or fewer")
        self._check_that_ranks_agree_with_one_process(min(examples, 2 * size))
        with collective_errors():
            return data_parallel(shared_network(self.model, self.gang, examples))

    @torch.no_grad()
    def _check_that_ranks_agree_with_one_process(self, examples: int) -> None:
        """Compare the losses of a few examples: a plug-in's network may mix the examples of a batch in its own way."""
        random = generator(self.device, self.trial.seed, "gang")
        x = self.data.batch(torch.arange(examples), random)
        betas = training_betas(self.trial.method, examples, random)
        noise = self._noise(examples, random)
        model, share = copy.deepcopy(self.model), self.gang.slice_of(examples)
        losses = []
        for network, part in ((model, slice(None)), (shared_network(model, self.gang, examples), share)):
            torch.manual_seed(self.trial.seed)
            losses.append(self._losses(network, x, betas, noise, part)[1])
        if not torch.allclose(losses[0][share], losses[1], rtol=SAME_LOSS, equal_nan=True):
            raise TrialFailed(
                f"architecture {self.trial.architecture.name!r} gives other losses to a batch that several ranks share "
                "than to one process; set resources.ranks to 1"
            )

    def _restore_moments(self, tensors: dict[str, torch.Tensor]) -> None:
        parameters = list(self.model.parameters())
        state: dict[int, dict[str, torch.Tensor]] = {}
        for name, tensor in tensors.items():
            index, _, moment = name.partition(".")
            like = parameters[int(index)]
            # In the parameter's own memory layout, as they were: safetensors only keeps the default one.
            restored = torch.empty_like(like).copy_(tensor) if tensor.shape == like.shape else tensor.clone()
            state.setdefault(int(index), {})[moment] = restored
        self.optimiser.load_state_dict({"state": state, "param_groups": self.optimiser.state_dict()["param_groups"]})

    def _check_weights(self) -> None:
        for name, parameter in self.model.named_parameters():
            if not torch.isfinite(parameter).all():
                raise TrialFailed(f"the weights of {name} are no longer finite after step {self.step - 1}")


def load_trained_model(trial: Trial, content: bytes, device: torch.device) -> VAE:
    """Return the trained model of a finished trial. Raises ValueError where the file is damaged."""
    model = build_model(trial)
    model.load_state_dict(_below(Checkpoint.from_bytes(content).tensors, "model."))
    return model.to(device)


def train(
    state: TrainingState,
    *,
    after_step: Callable[[], bool],
    after_epoch: Callable[[], None],
) -> bool:
    """Train to the end, or until `after_step` asks to stop; returns whether the end was reached."""
    while not state.finished:
        epoch = len(state.history)
        start = state.step - epoch * state.sampler.steps_per_epoch
        for indices in state.sampler.batches(epoch, start):
            state.advance(indices)
            if after_step():
                return False
        after_epoch()
    return True


class _LossCheck:
    """Looks for losses that are not finite, every step on a CPU and in groups on a GPU."""

    def __init__(self, device: torch.device) -> None:
        self._every = 1 if device.type == "cpu" else CUDA_CHECK_STEPS
        self._pending: list[tuple[int, torch.Tensor, torch.Tensor]] = []

    def add(self, step: int, betas: torch.Tensor, losses: torch.Tensor) -> None:
        self._pending.append((step, betas, losses))
        if len(self._pending) >= self._every:
            self.check()

    def check(self) -> None:
        pending, self._pending = self._pending, []
        if not pending or bool(torch.isfinite(torch.stack([losses.sum() for _, _, losses in pending])).all()):
            return
        for step, betas, losses in pending:
            broken = ~torch.isfinite(losses)
            if broken.any():
                raise TrialFailed(_describe(step, betas[broken[: len(betas)]].flatten(), losses[broken]))


def _describe(step: int, betas: torch.Tensor, losses: torch.Tensor) -> str:
    low, high = float(betas.min()), float(betas.max())
    where = f"β = {low:g}" if low == high else f"β between {low:g} and {high:g}"
    return f"the loss is {float(losses[0]):g} at step {step}, {where}; try a lower learning rate or warm-up epochs"


def _below(tensors: Any, prefix: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
