"""Evaluations within an attempt: of the trained model, and intermediate ones while it trains."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from evaluation.records import Point, to_parquet
from models.vae import TextVAE
from workers.accounting.accountant import forward_flops_per_image
from workers.measuring.generation_metrics import GENERATION_METRICS, GenerationMetrics
from workers.measuring.guard import unguarded
from workers.measuring.points import evaluate_points
from workers.measuring.samples import draw_samples
from workers.outcome import Interrupted
from workers.running.failures import MetricFailures
from workers.store.failures import write_failed_metrics
from workers.store.layout import INTERMEDIATE

if TYPE_CHECKING:
    import torch

    from models.vae import VAE
    from workers.accounting.accountant import Accountant
    from workers.data.split import ResidentData, Split
    from workers.distributed.ranks import SingleProcess
    from workers.measuring.guard import Guard
    from workers.running.context import Context
    from workers.store.failures import FailedMetric
    from workers.store.manifest import StoredFile
    from workers.store.store import TrialFolder
    from workers.training.state import TrainingState
    from workers.trial import Evaluation, IntermediateEvaluation, Trial


@dataclass(frozen=True)
class Evaluator:
    """Evaluates models of a trial on this device, and writes the results. Raises Interrupted if asked to stop."""

    trial: Trial
    context: Context
    folder: TrialFolder
    accountant: Accountant
    device: torch.device
    group: SingleProcess

    def evaluate(
        self, model: VAE, data: ResidentData
    ) -> tuple[list[Point], dict[str, StoredFile], tuple[FailedMetric, ...]]:
        """Evaluate the trained model; returns its operating points, the files written, and the metrics that failed."""
        evaluation = self.context.evaluation
        images = data.split(evaluation.split).first(evaluation.limit)
        failures = MetricFailures(len(evaluation.betas))
        with self.accountant.phase("compile"):
            flops = forward_flops_per_image(model, self.trial.dataset.shape)
        with self.accountant.phase("evaluate"):
            points = self._points(model, data, evaluation, failures.guard)
            contents = {f"points/{evaluation.eval_id}.parquet": to_parquet(Point, points)}
            with self.accountant.phase("metrics"):
                contents |= self._samples(model, images, evaluation, failures.guard)
        examined = len(images) * len(points)
        self.accountant.count("evaluate", examined, flops * examined * images.mean_share_of_longest())
        files = {name: self.folder.write(name, content) for name, content in contents.items()}
        failed = failures.failed()
        return points, files | write_failed_metrics(self.folder, evaluation.eval_id, failed), failed

    def evaluate_intermediate(
        self, state: TrainingState, data: ResidentData, intermediate: IntermediateEvaluation
    ) -> None:
        """Evaluate rate and distortion after the epochs trained so far, unless an earlier attempt has."""
        name = f"{INTERMEDIATE}/{len(state.history)}.parquet"
        if self.folder.exists(name):
            return
        try:
            with self.accountant.phase(INTERMEDIATE):
                points = self._points(
                    state.model, data, replace(intermediate.evaluation, metrics=(), pictures=0), unguarded
                )
        finally:
            state.model.train()
        self.folder.write(name, to_parquet(Point, points))

    def _samples(self, model: VAE, images: Split, evaluation: Evaluation, guard: Guard) -> dict[str, bytes]:
        contents = {}
        with guard("sentences" if isinstance(model, TextVAE) else "pictures", len(evaluation.betas)):
            name, content = draw_samples(self.trial, model, images, evaluation, self.device, guard)
            contents[name] = content
        return contents

    def _points(self, model: VAE, data: ResidentData, evaluation: Evaluation, guard: Guard) -> list[Point]:
        return evaluate_points(
            self.trial,
            model,
            data.split(evaluation.split).first(evaluation.limit),
            evaluation,
            sweep=self.context.sweep,
            device=self.device,
            should_stop=self._should_stop,
            generation=self._generation_metrics(data, evaluation),
            aside=lambda: self.accountant.phase("metrics"),
            guard=guard,
        )

    def _generation_metrics(self, data: ResidentData, evaluation: Evaluation) -> GenerationMetrics | None:
        if not GENERATION_METRICS.keys() & set(evaluation.metrics):
            return None
        cache, weights = self.context.store.cache(), self.context.inception_weights
        return GenerationMetrics(self.trial, data, evaluation, cache, weights, self.device, self._check_stop)

    def _check_stop(self) -> None:
        if self._should_stop():
            raise Interrupted

    def _should_stop(self) -> bool:
        return self.context.should_stop() or self.group.stop_asked()
