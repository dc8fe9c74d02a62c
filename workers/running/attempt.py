"""One attempt at a trial: train from its last checkpoint, evaluate, and commit.

In a process group, rank 0 runs it. While it does something long alone, the other ranks wait in `group.meet`.
"""

from __future__ import annotations

import logging
import os
import socket
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import torch

from evaluation.records import HistoryRow, to_parquet
from workers.accounting.accountant import Accountant, training_flops_per_image
from workers.devices.devices import choose_device, device_kind
from workers.distributed.ranks import SINGLE_PROCESS
from workers.outcome import Interrupted, Progress, TrialState
from workers.provenance import data_content, machine, plugins
from workers.running.attempt_log import EpochLog, attempt_log
from workers.running.checkpointer import Checkpointer
from workers.running.evaluator import Evaluator
from workers.running.metric_log import MetricLog, log_in
from workers.running.metric_names import epoch_metrics, point_metrics
from workers.running.rank import due_intermediate_evaluation, resumed_state
from workers.store.layout import HISTORY, INTERMEDIATE, PROGRESS, TRIAL
from workers.store.manifest import Manifest
from workers.training.checkpoint import FINAL, TrainingCheckpoints
from workers.training.state import TrainingState, load_trained_model, train

if TYPE_CHECKING:
    from evaluation.records import Point
    from models.vae import VAE
    from workers.data.split import ResidentData
    from workers.distributed.ranks import SingleProcess
    from workers.running.context import Context
    from workers.store.failures import FailedMetric
    from workers.store.manifest import StoredFile
    from workers.store.store import TrialFolder
    from workers.trial import Trial

LOGGER = logging.getLogger(__name__)
ACCOUNT_SECONDS = 5.0
"""Costs and progress are written this often during training; a kill loses no more of them."""


class Attempt:
    """One attempt at what is left of a trial: its training and evaluation, or the evaluation alone.

    `evaluating` is whether it came to evaluate the trained model, and `failed_metrics` are what failed in that.
    """

    def __init__(
        self, trial: Trial, context: Context, folder: TrialFolder, group: SingleProcess = SINGLE_PROCESS
    ) -> None:
        self.trial = trial
        self.group = group
        self.context = context
        self.folder = folder
        torch.set_num_threads(trial.training.threads)
        self.device = choose_device(context.resources.gpus)
        kind, count = device_kind(self.device), group.size * context.resources.rank_devices(trial.training)
        self.accountant = Accountant(
            folder,
            self.device,
            count,
            clock=context.clock,
            now=context.now,
            group=group,
            eval_id=context.evaluation.eval_id,
        )
        self.log = attempt_log(folder, self.accountant.attempt, kind, verbose=context.verbose)
        self.checkpoints = TrainingCheckpoints(folder)
        self.checkpointer = Checkpointer(self.checkpoints, self.accountant, context.checkpoint_seconds, context.clock)
        self.evaluator = Evaluator(trial, context, folder, self.accountant, self.device, group)
        self.metrics = MetricLog(log_in(folder))
        self.evaluating = False
        self.failed_metrics: tuple[FailedMetric, ...] = ()
        self._accounted_at: float | None = None

    def run(self) -> None:
        """Do what is left, and commit it. Raises whatever error ends it."""
        self.folder.write_json(TRIAL, self.trial.to_json())
        self.accountant.write(TrialState.RUNNING)
        manifest = self.folder.manifest()
        if manifest is None:
            self.group.meet()  # There is something to train: all ranks load the data.
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
            files |= {name: self.folder.stored(name) for name in self.folder.names(f"{INTERMEDIATE}/*.parquet")}
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
                    **data_content(self.trial.dataset),
                },
            )
        )

    def _evaluate_and_commit(self, data: ResidentData, manifest: Manifest) -> None:
        with self.accountant.phase("checkpoint"):
            model = load_trained_model(self.trial, self.folder.read_verified(manifest, FINAL), self.device)
        files = self._evaluate(model, data)
        self._commit(replace(manifest, files={**manifest.files, **files}))

    def _commit(self, manifest: Manifest) -> None:
        # Costs are not in the manifest: later attempts add to them, whether or not they succeed.
        self.accountant.write(TrialState.DONE)
        evaluations = sorted({*manifest.evaluations, self.context.evaluation.eval_id})
        self.folder.commit(self.folder.MANIFEST, replace(manifest, evaluations=evaluations).to_bytes())

    def _train(self, data: ResidentData) -> TrainingState:
        earlier = self.checkpointer.latest()
        with self.accountant.phase("data"):
            self.group.meet()
        with self.accountant.phase("compile"):
            state = resumed_state(self.trial, data, self.device, self.group, earlier)
            flops = training_flops_per_image(state.model, self.trial.dataset.shape)
        LOGGER.info("training from step %d (epoch %.2f)", state.step, state.step / state.sampler.steps_per_epoch)
        epochs = EpochLog(self.context.clock)

        def after_step() -> bool:
            self.accountant.count("train", state.sampler.batch_size, flops * state.work)
            self._report_progress(state)
            due, stop = self.group.any(self.checkpointer.is_due, self.context.should_stop())
            if due:
                self.checkpointer.save(state)
                self.group.meet()
            return stop

        def after_epoch() -> None:
            row = state.finish_epoch(self.checkpointer.train_seconds)
            step, metrics = epoch_metrics(row)
            epochs.log(step, self.trial.training.epochs, row)
            self.metrics.append(step, metrics, self._timestamp_ms())
            self._evaluate_intermediate(state, data)

        with self.accountant.phase("train"):
            try:
                # An attempt that stopped right after an epoch has left its evaluation to this one.
                self._evaluate_intermediate(state, data)
                finished = train(state, after_step=after_step, after_epoch=after_epoch)
            except Interrupted:
                finished = False
        self.checkpointer.save(state)
        if not finished:
            raise Interrupted
        return state

    def _evaluate_intermediate(self, state: TrainingState, data: ResidentData) -> None:
        intermediate = due_intermediate_evaluation(state, self.context)
        if intermediate is not None:
            self.evaluator.evaluate_intermediate(state, data, intermediate)
            self.group.meet()

    def _evaluate(self, model: VAE, data: ResidentData) -> dict[str, StoredFile]:
        LOGGER.info("evaluating on the %s split", self.context.evaluation.split)
        self.evaluating = True
        points, files, self.failed_metrics = self.evaluator.evaluate(model, data)
        for point in points:
            self._log_point(point)
        return files

    def _log_point(self, point: Point) -> None:
        step, metrics = point_metrics(point, self.context.evaluation)
        for name, value in metrics.items():
            if name.endswith("/beta"):
                # Two β that are close have the same step, and each has its own line.
                step = self.metrics.free_step(step, name, value)
        self.metrics.append(step, metrics, self._timestamp_ms())

    def _report_progress(self, state: TrainingState) -> None:
        elbo = state.history[-1].elbo if state.history else None
        epoch, examples = state.step / state.sampler.steps_per_epoch, state.step * state.sampler.batch_size
        progress = Progress(epoch, self.trial.training.epochs, elbo, examples)
        self.context.report(progress)
        if self._accounted_at is None or self.context.clock() - self._accounted_at >= ACCOUNT_SECONDS:
            self._accounted_at = self.context.clock()
            self.accountant.write(TrialState.RUNNING)
            where = {"attempt": self.accountant.attempt, "host": socket.gethostname(), "pid": os.getpid()}
            times = {"started_at": self.accountant.first_started_at, "at": self.context.now()}
            self.folder.write_json(PROGRESS, {**asdict(progress), **where, **times})

    def _timestamp_ms(self) -> int:
        return int(self.context.now() * 1000)
