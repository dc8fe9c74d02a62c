"""The training of one trial: a state that can stop after any step and resume from it, and the loop over its steps."""

from __future__ import annotations

import copy
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import torch

from evaluation.records import HistoryRow
from models.architecture import Gating
from models.objectives import BATCH_WIDE, OBJECTIVES
from workers.data.sampler import EpochSampler
from workers.distributed.batch_layers import data_parallel, shared_network, whole_output
from workers.distributed.process_group import collective_errors
from workers.distributed.ranks import SINGLE_PROCESS
from workers.outcome import TrialFailed
from workers.seeding import derive_seed, generator, seeded_initialisation
from workers.training.checkpoint import Checkpoint
from workers.training.conditioning import condition_on, training_betas
from workers.training.loss_check import LossCheck
from workers.training.schedules import beta_weight, learning_rate
from workers.trial import MultiRateVAE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import nn

    from models.vae import VAE, ModelOutput
    from workers.data.split import Split
    from workers.distributed.ranks import SingleProcess
    from workers.trial import Trial

IMAGE_AXES = 4
"""Examples, channels, height and width: the axes of a tensor whose memory layout is an option."""
SAME_LOSS = 1e-2
"""Relative tolerance of a loss: larger than the rounding of bfloat16, smaller than an effect of another batch."""


def build_model(trial: Trial) -> VAE:
    """Return the trial's model with its initial weights, on the CPU."""
    method = trial.method
    gating = Gating(method.encoder_gate, method.decoder_gate) if isinstance(method, MultiRateVAE) else None
    with seeded_initialisation(trial.seed):
        return trial.architecture.build(trial.dataset.shape, trial.objective.likelihood, gating)


class TrainingState:
    """Model, optimiser and progress of a trial: `advance` is one step, `checkpoint` and `restore` save and resume.

    With several ranks, each creates one at the same time, and all have the same values after every step.
    """

    def __init__(self, trial: Trial, data: Split, device: torch.device, group: SingleProcess = SINGLE_PROCESS) -> None:
        self.trial = trial
        self.group = group
        self.device = device
        self.data = data
        self.layout = torch.channels_last if trial.training.channels_last else torch.contiguous_format
        self.model = build_model(trial).to(device, memory_format=self.layout)  # type: ignore[call-overload]  # torch's stubs lack this form
        self.model.train()
        self.optimiser = torch.optim.Adam(self.model.parameters(), fused=True)
        self.sampler = EpochSampler(len(data), trial.training.batch_size, trial.seed, data.lengths)
        self.losses = LossCheck(device)
        self.step = 0
        self.history: list[HistoryRow] = []
        self.seconds_before_epoch = 0.0
        self.work = 0.0
        """The work of the last step in examples of full length: less than its examples for short sentences."""
        self._sums = torch.zeros(3, dtype=torch.float64, device=device)
        self._share = group.slice_of(self.sampler.batch_size)
        self._network: nn.Module = self.model if group.size == 1 else self._parallel_network()

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
        # Every rank draws these for the whole batch, so that they do not depend on the number of ranks.
        output, loss = self._losses(self._network, x, betas, noise, self._share)
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(training, self.epoch)
        self.optimiser.zero_grad(set_to_none=True)
        sums = torch.stack([loss.sum(), output.distortion.sum(), output.rates.sum()]).detach().double()
        sums_of_all = self.group.total(sums)
        with collective_errors():
            # The ranks' gradients are averaged, and their slices of the batch may differ in length.
            (loss.mean() if self.group.size == 1 else loss.sum() * (self.group.size / len(x))).backward()
        if training.clip_norm:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), training.clip_norm)
        self.optimiser.step()
        self._sums += sums_of_all()
        self.losses.add(self.step, betas[self._share], loss.detach())
        self.step += 1

    def finish_epoch(self, train_seconds: float) -> HistoryRow:
        """Record the epoch whose last step was just taken; `train_seconds` is the training time so far."""
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
        """Return everything needed to resume. Raises TrialFailed where a weight is not finite."""
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
        """Restore the state from a checkpoint; returns its training seconds."""
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
    ) -> tuple[ModelOutput, torch.Tensor]:
        """Return the model's output and the losses of a share of a batch."""
        mine = x[share]
        if x.dim() == IMAGE_AXES:
            mine = mine.to(memory_format=self.layout)
        condition = condition_on(self.trial.method, betas[share])
        with (
            collective_errors(),
            torch.autocast(self.device.type, torch.bfloat16, enabled=self.trial.training.precision == "bfloat16"),
        ):
            output = network(mine, condition, [each[share] for each in noise])
        weights = betas * beta_weight(self.trial, self.epoch)
        objective = OBJECTIVES[self.trial.objective.name]
        if len(mine) < len(x) and self.trial.objective.name in BATCH_WIDE:
            return output, objective(whole_output(output, self.group, len(x)), weights, len(self.data))[share]
        return output, objective(output, weights[share], len(self.data))

    def _noise(self, examples: int, random: torch.Generator) -> list[torch.Tensor]:
        return [
            torch.randn(examples, *shape, generator=random, device=self.device) for shape in self.model.latent_shapes
        ]

    def _parallel_network(self) -> nn.Module:
        """Return the network of a rank. Raises TrialFailed where the ranks cannot share the trial's batches."""
        examples, size = self.sampler.batch_size, self.group.size
        if examples < size:
            raise TrialFailed(
                f"{size} ranks cannot share a batch of {examples}; set resources.ranks to {examples} or less"
            )
        self._check_that_ranks_agree_with_one_process(min(examples, 2 * size))
        with collective_errors():
            return data_parallel(shared_network(self.model, self.group, examples))

    @torch.no_grad()
    def _check_that_ranks_agree_with_one_process(self, examples: int) -> None:
        """Compare the losses of a few examples: the network of a plug-in may depend on the whole batch."""
        random = generator(self.device, self.trial.seed, "gang")  # the name of a random stream; it must not change
        x = self.data.batch(torch.arange(examples), random)
        betas = training_betas(self.trial.method, examples, random)
        noise = self._noise(examples, random)
        model, share = copy.deepcopy(self.model), self.group.slice_of(examples)
        losses = []
        for network, part in ((model, slice(None)), (shared_network(model, self.group, examples), share)):
            torch.manual_seed(self.trial.seed)
            losses.append(self._losses(network, x, betas, noise, part)[1])
        if not torch.allclose(losses[0][share], losses[1], rtol=SAME_LOSS, equal_nan=True):
            raise TrialFailed(
                f"architecture {self.trial.architecture.name!r} computes other losses when several ranks share a batch "
                "than in one process; set resources.ranks to 1"
            )

    def _restore_moments(self, tensors: dict[str, torch.Tensor]) -> None:
        parameters = list(self.model.parameters())
        state: dict[int, dict[str, torch.Tensor]] = {}
        for name, tensor in tensors.items():
            index, _, moment = name.partition(".")
            like = parameters[int(index)]
            # In the parameter's memory layout, as before: safetensors only stores the default one.
            restored = torch.empty_like(like).copy_(tensor) if tensor.shape == like.shape else tensor.clone()
            state.setdefault(int(index), {})[moment] = restored
        self.optimiser.load_state_dict({"state": state, "param_groups": self.optimiser.state_dict()["param_groups"]})

    def _check_weights(self) -> None:
        for name, parameter in self.model.named_parameters():
            if not torch.isfinite(parameter).all():
                raise TrialFailed(f"the weights of {name} are no longer finite after step {self.step - 1}")


def load_trained_model(trial: Trial, content: bytes, device: torch.device) -> VAE:
    """Return the trained model of a finished trial. Raises ValueError where the content is damaged."""
    model = build_model(trial)
    model.load_state_dict(_below(Checkpoint.from_bytes(content).tensors, "model."))
    return model.to(device)


def train(
    state: TrainingState,
    *,
    after_step: Callable[[], bool],
    after_epoch: Callable[[], None],
) -> bool:
    """Train to the end, or until `after_step` returns True; returns whether the end was reached."""
    while not state.finished:
        epoch = len(state.history)
        start = state.step - epoch * state.sampler.steps_per_epoch
        for indices in state.sampler.batches(epoch, start):
            state.advance(indices)
            if after_step():
                return False
        after_epoch()
    return True


def _below(tensors: Any, prefix: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
