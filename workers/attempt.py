"""One attempt at a trial: training from where it stopped, evaluation, and the commit that makes it done.

In a gang this is what rank 0 does. Where it is alone with something that takes long, the others wait in `gang.meet`.
"""

from __future__ import annotations

import os
import socket
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import torch

from evaluation.records import HistoryRow, Point, to_parquet
from workers.accounting import Accountant, forward_flops_per_image, training_flops_per_image
from workers.attempt_log import AttemptLog
from workers.checkpoint import FINAL, Checkpoint, TrainingCheckpoints
from workers.devices import choose_device, device_kind
from workers.gang import ALONE
from workers.logged_metrics import epoch_metrics, point_metrics
from workers.measuring import Interrupted, measure
from workers.metric_log import MetricLog, log_in
from workers.outcome import Progress
from workers.provenance import machine, plugins
from workers.quality_columns import QUALITY_METRICS, QualityColumns
from workers.showing import show
from workers.store import Manifest
from workers.training import TrainingState, load_trained_model, train
from workers.trial_files import ALONG, HISTORY, PROGRESS, TRIAL

if TYPE_CHECKING:
    from models.vae import VAE
    from workers.data.split import ResidentData
    from workers.gang import Alone
    from workers.run import Context
    from workers.store import StoredFile, TrialFolder
    from workers.trial import Along, Evaluation, Resources, Trial

ACCOUNT_SECONDS = 5.0
"""How often an attempt's costs and progress are written while it trains; a kill loses no more of its account."""
CHECKPOINT_SHARE = 50
"""Checkpoints are at least so many times their own duration apart: they cost 2 % of training at most."""


def devices_of_a_rank(trial: Trial, resources: Resources, device: torch.device) -> float:
    """Return how many devices a rank counts as: on a CPU the device is a core, and it uses one for each thread."""
    return resources.gpus if device.type == "cuda" else float(trial.training.threads)


def gang_state(
    trial: Trial, data: ResidentData, device: torch.device, gang: Alone, earlier: Checkpoint | None
) -> TrainingState:
    """Return the training of a rank that goes on from rank 0's checkpoint, where that has one. All ranks call it."""
    gang.connect(device)
    state = TrainingState(trial, data.train, device, gang)
    if gang.size > 1:
        # Every rank has the bytes that rank 0 has read, whatever else the others might find in the store.
        content = gang.broadcast_bytes(earlier.to_bytes() if earlier is not None else b"")
        earlier = Checkpoint.from_bytes(content) if content else None
    if earlier is not None:
        state.restore(earlier)
    return state


def measured_along(state: TrainingState, along: Along) -> bool:
    """Return whether so many epochs are just done that rate and distortion are measured."""
    return not state.step_in_epoch and len(state.history) in along.epochs(state.trial.training.epochs)


class Attempt:
    """One try at what is left of a trial: both its training and its evaluation, or the evaluation alone."""

    def __init__(self, trial: Trial, context: Context, folder: TrialFolder, gang: Alone = ALONE) -> None:
        self.trial = trial
        self.gang = gang
        self.context = context
        self.folder = folder
        torch.set_num_threads(trial.training.threads)
        self.device = choose_device(context.resources.gpus)
        count = devices_of_a_rank(trial, context.resources, self.device) * gang.size
        self.accountant = Accountant(folder, self.device, count, clock=context.clock, now=context.now, gang=gang)
        kind = device_kind(self.device)
        self.log = AttemptLog(folder, self.accountant.attempt, kind, clock=context.clock, now=context.now)
        self.checkpoints = TrainingCheckpoints(folder)
        self.metrics = MetricLog(log_in(folder))
        self._checkpointed_at = context.clock()
        self._accounted_at: float | None = None
        self._checkpoint_duration = 0.0

    def run(self) -> None:
        """Do what is left, and commit it. Raises what went wrong."""
        self.folder.write_json(TRIAL, self.trial.to_json())
        self.accountant.write("running")
        manifest = self.folder.manifest()
        if manifest is None:
            self.gang.meet()  # There is something to train: all ranks load the data.
        with self.accountant.phase("data"):
            data = self.context.load_data(self.trial.dataset).to(self.device)
        if manifest is None:
            self._train_and_commit(data)
        else:
            self._evaluate_and_commit(data, manifest)
        self.checkpoints.clear()
        self.folder.remove(PROGRESS)

    def _train_and_commit(self, data: ResidentData) -> None:
        state = self._train(data)
        files = self._evaluate(state.model, data)
        with self.accountant.phase("checkpoint"):
            files[FINAL] = self.checkpoints.finish(state.trained_model())
            files |= {name: self.folder.stored(name) for name in self.folder.names(f"{ALONG}/*.parquet")}
            files[HISTORY] = self.folder.write(HISTORY, to_parquet(HistoryRow, state.history))
            files[TRIAL] = self.folder.write_json(TRIAL, self.trial.to_json())
        kind = device_kind(self.device)
        self._commit(
            Manifest(
                trial_id=self.trial.trial_id,
                files=files,
                attempts=self.accountant.attempt,
                started_at=self.accountant.first_started_at,
                finished_at=self.context.now(),
                parameters=sum(parameter.numel() for parameter in state.model.parameters()),
                provenance={
                    **self.context.provenance,
                    **machine(self.device, self.trial.training.threads, kind),
                    **plugins(self.trial),
                },
            )
        )

    def _evaluate_and_commit(self, data: ResidentData, manifest: Manifest) -> None:
        with self.accountant.phase("checkpoint"):
            model = load_trained_model(self.trial, self.folder.read_verified(manifest, FINAL), self.device)
        files = self._evaluate(model, data)
        self._commit(replace(manifest, files={**manifest.files, **files}))

    def _commit(self, manifest: Manifest) -> None:
        # The costs are not in the manifest: later attempts add to them, whether or not they come to an end.
        self.accountant.write("done")
        evaluations = sorted({*manifest.evaluations, self.context.evaluation.eval_id})
        self.folder.write(self.folder.MANIFEST, replace(manifest, evaluations=evaluations).to_bytes())

    def _train(self, data: ResidentData) -> TrainingState:
        with self.accountant.phase("checkpoint"):
            earlier = self.checkpoints.latest()
        with self.accountant.phase("data"):
            self.gang.meet()
        with self.accountant.phase("compile"):
            state = gang_state(self.trial, data, self.device, self.gang, earlier)
            flops = training_flops_per_image(state.model, self.trial.dataset.shape)
        seconds_before = 0.0 if earlier is None else float(earlier.progress["train_seconds"])
        epoch = state.step / state.sampler.steps_per_epoch
        self.log.say(f"trains from step {state.step} (epoch {epoch:.2f})", at_once=True)

        def train_seconds() -> float:
            return seconds_before + self.accountant.seconds("train")

        def after_step() -> bool:
            self.accountant.count("train", state.sampler.batch_size, flops * state.work)
            self._tell_progress(state)
            due, stop = self.gang.any(self._checkpoint_is_due(), self.context.should_stop())
            if due:
                self._checkpoint(state, train_seconds())
                self.gang.meet()
            return stop

        def after_epoch() -> None:
            row = state.finish_epoch(train_seconds())
            step, metrics = epoch_metrics(row)
            self.log.say_one_of(
                f"epoch {step}/{self.trial.training.epochs}: ELBO {row.elbo:.4f}, distortion {row.distortion:.4f}, "
                f"rate {row.rate_nats:.4f} nats"
            )
            self.metrics.append(step, metrics, self._timestamp_ms())
            self._measure_along(state, data, train_seconds())

        with self.accountant.phase("train"):
            # What a stop after an epoch has left out.
            self._measure_along(state, data, train_seconds())
            finished = train(state, after_step=after_step, after_epoch=after_epoch)
        self._checkpoint(state, train_seconds())
        if not finished:
            raise Interrupted
        return state

    def _measure_along(self, state: TrainingState, data: ResidentData, train_seconds: float) -> None:
        """Measure rate and distortion where so many epochs are just done that it is due and not there yet."""
        along = self.context.along
        if along is None or not measured_along(state, along):
            return
        name = f"{ALONG}/{len(state.history)}.parquet"
        if not self.folder.exists(name):
            self._write_along(name, state, data, along, train_seconds)
        self.gang.meet()

    def _write_along(
        self, name: str, state: TrainingState, data: ResidentData, along: Along, train_seconds: float
    ) -> None:
        evaluation = replace(along.evaluation, metrics=(), pictures=0)
        try:
            with self.accountant.phase("along"):
                points = self._points(state.model, data, evaluation)
        except Interrupted:
            self._checkpoint(state, train_seconds)
            raise
        finally:
            state.model.train()
        self.folder.write(name, to_parquet(Point, points))

    def _checkpoint_is_due(self) -> bool:
        interval = max(self.context.checkpoint_seconds, CHECKPOINT_SHARE * self._checkpoint_duration)
        return self.context.clock() - self._checkpointed_at >= interval

    def _checkpoint(self, state: TrainingState, train_seconds: float) -> None:
        started = self.context.clock()
        with self.accountant.phase("checkpoint"):
            # Before the checkpoint: no step is gone on from that was not accounted for.
            self.accountant.write("running")
            self.checkpoints.save(state.step, state.checkpoint(train_seconds))
        self._checkpointed_at = self.context.clock()
        self._checkpoint_duration = self._checkpointed_at - started

    def _tell_progress(self, state: TrainingState) -> None:
        elbo = state.history[-1].elbo if state.history else None
        epoch, examples = state.step / state.sampler.steps_per_epoch, state.step * state.sampler.batch_size
        progress = Progress(epoch, self.trial.training.epochs, elbo, examples)
        self.context.report(progress)
        if self._accounted_at is None or self.context.clock() - self._accounted_at >= ACCOUNT_SECONDS:
            self._accounted_at = self.context.clock()
            self.accountant.write("running")
            where = {"attempt": self.accountant.attempt, "host": socket.gethostname(), "pid": os.getpid()}
            times = {"started_at": self.accountant.first_started_at, "at": self.context.now()}
            self.folder.write_json(PROGRESS, {**asdict(progress), **where, **times})

    def _evaluate(self, model: VAE, data: ResidentData) -> dict[str, StoredFile]:
        evaluation = self.context.evaluation
        self.log.say(f"evaluates on {evaluation.split}")
        images = data.split(evaluation.split).first(evaluation.limit)
        with self.accountant.phase("compile"):
            flops = forward_flops_per_image(model, self.trial.dataset.shape)
        with self.accountant.phase("evaluate"):
            points = self._points(model, data, evaluation)
            with self.accountant.phase("metrics"):
                shown = show(self.trial, model, images, evaluation, self.device)
        examined = len(images) * len(points)
        self.accountant.count("evaluate", examined, flops * examined * images.mean_share_of_longest())
        for point in points:
            step, metrics = point_metrics(point)
            self.metrics.append(step, metrics, self._timestamp_ms())
        return {
            name: self.folder.write(name, content)
            for name, content in (
                (f"points/{evaluation.eval_id}.parquet", to_parquet(Point, points)),
                shown,
            )
        }

    def _points(self, model: VAE, data: ResidentData, evaluation: Evaluation) -> list[Point]:
        return measure(
            self.trial,
            model,
            data.split(evaluation.split).first(evaluation.limit),
            evaluation,
            sweep=self.context.sweep,
            device=self.device,
            should_stop=self._should_stop,
            quality=self._quality(data, evaluation),
            aside=lambda: self.accountant.phase("metrics"),
        )

    def _quality(self, data: ResidentData, evaluation: Evaluation) -> QualityColumns | None:
        if not QUALITY_METRICS.keys() & set(evaluation.metrics):
            return None
        cache, weights = self.context.store.cache(), self.context.inception_weights
        return QualityColumns(self.trial, data, evaluation, cache, weights, self.device, self._check_stop)

    def _check_stop(self) -> None:
        if self._should_stop():
            raise Interrupted

    def _should_stop(self) -> bool:
        return self.context.should_stop() or self.gang.stop_asked()

    def _timestamp_ms(self) -> int:
        return int(self.context.now() * 1000)
