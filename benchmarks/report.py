"""How long a report on 10,000 trials takes and how much memory, in a process of its own, from records made up here."""

from __future__ import annotations

import math
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from evaluation.records import Cost, HistoryRow, Point
from evaluation.report.content.contents import Stage, SweepRecord, TrialRecord
from evaluation.report.rendering.formats import USUAL
from evaluation.report.rendering.render import render_formats

if TYPE_CHECKING:
    from evaluation.report.content.contents import Method

BOUND_SECONDS, BOUND_GIB = 10.0, 1.0
SETTINGS, SEEDS, EPOCHS, EVALUATED = 20, 5, 10, 20


def run() -> None:
    """Print what two sweeps of 10,000 trials take, and whether that is within the bounds."""
    for name in RECORDS:
        print(
            subprocess.run(
                [sys.executable, "-m", "benchmarks.report", name], check=True, text=True, capture_output=True
            ).stdout,
            end="",
        )


def planned() -> SweepRecord:
    """Return a sweep as a spec may ask for it: 20 settings and 5 seeds of one MR-VAE and 99 β-VAEs."""
    trials = []
    for setting in range(SETTINGS):
        for seed in range(SEEDS):
            trials.append(_trial(f"MR-VAE · setting {setting}", seed, _betas(EVALUATED), along=4))
            trials += [_trial(f"β-VAE · setting {setting}", seed, (beta,)) for beta in _betas(99)]
    return _sweep(trials)


def measured() -> SweepRecord:
    """Return a sweep of as many points as there can be: every trial an MR-VAE at 20 β."""
    settings = range(10_000 // SEEDS)
    return _sweep(
        [
            _trial(f"MR-VAE · setting {setting}", seed, _betas(EVALUATED))
            for setting in settings
            for seed in range(SEEDS)
        ]
    )


RECORDS = {"planned": planned, "measured": measured}


def _betas(count: int) -> tuple[float, ...]:
    return tuple(0.01 * 1000 ** (index / (count - 1)) for index in range(count))


def _sweep(trials: list[TrialRecord]) -> SweepRecord:
    return SweepRecord("ten-thousand", "", "name: ten-thousand\n", "digits", "mlp", 0.0, "abc", tuple(trials))


def _trial(series: str, seed: int, betas: tuple[float, ...], along: int = 0) -> TrialRecord:
    name = f"{series}-{seed}-{betas[0]}"
    method: Method = "mr-vae" if series.startswith("MR-VAE") else "beta-vae"
    return TrialRecord(
        trial_id=name,
        series=series,
        method=method,
        seed=seed,
        betas=((betas[0],), (betas[-1],)) if method == "mr-vae" else tuple((beta,) for beta in betas),
        state="done",
        parameters=100_000,
        settings={"training.learning_rate": "0.001", "seed": str(seed)},
        provenance={"commit": "abc", "device": "cpu"},
        attempts=1,
        points=tuple(_point(name, method, seed, beta) for beta in betas),
        costs=tuple(
            Cost(name, 1, phase, "done", 10.0 + seed + betas[0], "cpu", 1.0, 10_000, 1e9, None, 2**30, 0.0, "here")
            for phase in ("train", "evaluate", "data")
        ),
        history=tuple(
            HistoryRow(name, epoch, epoch, 1e-3, 1.0, 90.0 - epoch, 80.0, 10.0, -90.0 + epoch, 1000, 1.0)
            for epoch in range(EPOCHS)
        ),
        along=tuple(
            Stage(epochs, epochs, tuple(_point(name, method, seed, beta, worse=EPOCHS - epochs) for beta in betas))
            for epochs in range(1, along + 1)
        ),
    )


def _point(trial_id: str, method: str, seed: int, beta: float, worse: float = 0.0) -> Point:
    """Return a point of the curve D = 60 + 40 exp(-R / 10), or above it."""
    rate = 30.0 / (1 + beta) + 0.01 * math.sin(1000 * beta + seed)
    distortion = 60 + 40 * math.exp(-rate / 10) + 0.05 * math.cos(777 * beta + seed) + worse
    return Point(
        trial_id, "e" * 16, "ten-thousand", method, "digits", "mlp", "beta-elbo", seed, "test", (beta,), (rate,), rate,
        distortion, "nats", -rate - distortion, 1000, 1, latent_units=8,
        metrics={
            "active_units": 8, "active_units_delta": 0.01, "psnr_db": 20.0 - beta, "unit_variances": (0.5,) * 8,
        },
    )  # fmt: skip


def _measure(name: str) -> None:
    record = RECORDS[name]()
    points = sum(len(trial.points) for trial in record.trials)
    before = _peak_gib()
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        for files in render_formats(record, USUAL).values():
            for file, content in files.items():
                (Path(folder) / file).write_bytes(content)
        seconds = time.perf_counter() - started
        page = (Path(folder) / "report.html").stat().st_size / 2**20
    peak = _peak_gib()
    within = "within" if seconds < BOUND_SECONDS and peak < BOUND_GIB else "MISSED"
    print(
        f"{name}: {len(record.trials):,} trials, {points:,} points: {seconds:.1f} s, peak {peak:.2f} GiB (the records "
        f"alone {before:.2f}), page of {page:.0f} MiB; bounds {BOUND_SECONDS:g} s and {BOUND_GIB:g} GiB: {within}"
    )


def _peak_gib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


if __name__ == "__main__":
    _measure(sys.argv[1])
