"""Builders of records with short arguments, so that a test states only what it is about."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from types import SimpleNamespace

import pytest

from evaluation.records import Cost, HistoryRow, Point
from evaluation.report.content.contents import SweepRecord, TrialRecord


def point(rate, distortion, *, beta=1.0, unit="nats", split="test", trial_id="t", units=None):
    return Point(
        trial_id=trial_id,
        eval_id="e" * 16,
        sweep="demo",
        method="beta-vae",
        dataset="digits",
        architecture="mlp",
        objective="beta-elbo",
        seed=0,
        split=split,
        betas=beta if isinstance(beta, tuple) else (beta,),
        rates_nats=(rate,),
        rate_nats=rate,
        distortion=distortion,
        distortion_unit=unit,
        elbo=-(rate + distortion),
        examples=100,
        posterior_samples=1,
        metrics={} if units is None else {"active_units": units, "active_units_delta": 0.01},
    )


def cost(seconds, *, phase="train", outcome="done", attempt=1, device="cpu", devices=1.0, images=0, flops=None):
    return Cost(
        trial_id="t",
        attempt=attempt,
        phase=phase,
        outcome=outcome,
        seconds=seconds,
        device_kind=device,
        device_count=devices,
        images=images,
        flops=flops,
        joules=None,
        peak_memory_bytes=None,
        started_at=0.0,
        host="here",
    )


def epoch(number, *, seconds=1.0, images=100):
    return HistoryRow("t", number, number, 1e-3, 1.0, 90.0, 80.0, 10.0, -90.0, images, seconds)


def trial(series, pairs, *, seed=0, seconds=10.0, state="done", **changes):
    """Return a trial with a point for every (β, rate, distortion); a tuple of β is one for each latent layer."""
    multirate = series.startswith("MR-VAE")
    points = tuple(point(r, d, beta=b) for b, r, d in pairs)
    betas = tuple(each.betas for each in points)
    name = hashlib.sha256(f"{series}{seed}{betas}".encode()).hexdigest()
    return TrialRecord(
        **{
            "trial_id": name,
            "series": series,
            "method": "mr-vae" if multirate else "beta-vae",
            "seed": seed,
            "betas": (betas[0], betas[-1]) if multirate else betas,
            "state": state,
            "attempts": 1,
            "points": tuple(replace(each, trial_id=name) for each in points) if state == "done" else (),
            "costs": (cost(seconds),) if state == "done" else (),
            **changes,
        }
    )


def sweep(*trials, **changes):
    return SweepRecord(
        **{
            "name": "demo",
            "description": "",
            "spec_yaml": "name: demo\n",
            "dataset": "digits",
            "architecture": "mlp",
            "created_at": 0.0,
            "commit": "abc",
            "trials": tuple(trials),
            **changes,
        }
    )


def straight_pair(*, seed=0, lower_by=1.0, single_seconds=10.0, sweep_seconds=20.0):
    """Return an MR-VAE on D = 100 - R - lower_by and two β-VAEs on D = 100 - R, at rates 10 to 30."""
    return [
        trial(
            "MR-VAE",
            [(0.1, 30.0, 70.0 - lower_by), (1.0, 20.0, 80.0 - lower_by), (10.0, 10.0, 90.0 - lower_by)],
            seed=seed,
            seconds=single_seconds,
        ),
        trial("β-VAE, constant", [(0.1, 30.0, 70.0)], seed=seed, seconds=sweep_seconds),
        trial("β-VAE, constant", [(10.0, 10.0, 90.0)], seed=seed, seconds=sweep_seconds),
    ]


@pytest.fixture
def build():
    """The builders above."""
    return SimpleNamespace(point=point, cost=cost, epoch=epoch, trial=trial, sweep=sweep, straight_pair=straight_pair)
