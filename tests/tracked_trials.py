"""Trials with a metric log, as they are told to MLflow, without training any."""

from __future__ import annotations

from orchestrator.tracking.records import TrackedTrial
from workers.running.metric_log import MetricLog

STARTED_MS = 1_700_000_000_000


def tracked_trial(folder, name, epochs=3, **changes):
    """Return a finished trial, with a log of `epochs` steps of two metrics below the folder."""
    path = folder / name / "metrics.jsonl"
    log_epochs(path, range(epochs))
    facts = {
        "trial_id": name * 4,
        "run_name": f"beta-vae {name}",
        "parameters": {"method.beta": "0.1", "seed": "7"},
        "tags": {"git": "abc"},
        "log_path": path,
        "state": "done",
        "started_ms": STARTED_MS,
        "ended_ms": STARTED_MS + 5000,
    }
    return TrackedTrial(**{**facts, **changes})


def log_epochs(path, epochs, delay_ms=0):
    log = MetricLog(path)
    for epoch in epochs:
        metrics = {"train/loss": 1 / (epoch + 1), "train/elbo": -float(epoch)}
        log.append(epoch, metrics, STARTED_MS + 1000 * epoch + delay_ms)


def expected_history(epochs):
    return sorted(
        (name, epoch, STARTED_MS + 1000 * epoch, value, 0)
        for epoch in range(epochs)
        for name, value in [("train/loss", 1 / (epoch + 1)), ("train/elbo", -float(epoch))]
    )
