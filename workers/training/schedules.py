"""Schedules of the learning rate and of the weight of β, by epoch."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from models.annealing import annealing_weight
from workers.trial import BetaVAE

if TYPE_CHECKING:
    from workers.trial import Training, Trial


WARMUP_START = 1e-10
COSINE_END = 1e-6
"""Learning rates at the start and the end of the published schedule (Bae et al., 2023, appendix C)."""


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
