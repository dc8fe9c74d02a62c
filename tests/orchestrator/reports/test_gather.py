"""Files of a trial as the report takes them: pictures, with traversals, without and damaged, and measurements."""

import io
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from evaluation.records import HistoryRow, from_parquet
from models.architecture import Gating
from models.architectures.registry import configure
from orchestrator.reports.gather import _along, _pictures
from workers.accounting.costs import read_costs
from workers.data.resident import Images
from workers.measuring.samples import draw_samples
from workers.running.run import run_trial
from workers.store.store import Store
from workers.trial import BetaVAE, Evaluation, IntermediateEvaluation, MultiRateVAE

EVALUATION = Evaluation((0.1, 1.0), pictures=3)
PLANNED = SimpleNamespace(evaluation=EVALUATION)


@pytest.fixture
def folder(tmp_path):
    """A trial's folder with the pictures of a small multi-rate network."""
    method = MultiRateVAE(0.01, 10.0)
    data = Images(torch.randint(256, (20, 1, 8, 8), generator=torch.Generator().manual_seed(0)).byte(), None)
    model = configure("mlp", hidden=[16], latent_units=4).build((1, 8, 8), "bernoulli", Gating())
    folder = Store(tmp_path).trial("0" * 64)
    folder.write(*draw_samples(SimpleNamespace(method=method), model, data, EVALUATION, torch.device("cpu")))
    return folder


def arrays_of(folder):
    with np.load(io.BytesIO(folder.read(f"pictures/{EVALUATION.eval_id}.npz"))) as arrays:
        return dict(arrays)


def write(folder, arrays):
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    folder.write(f"pictures/{EVALUATION.eval_id}.npz", buffer.getvalue())


class Layered(Evaluation):
    """An evaluation with one β for each of two latent layers."""

    operating_points = ((0.1, 1.0), (1.0,))


def test_pictures_at_one_beta_for_each_layer_are_read_as_they_were_written(folder):
    """By a model without gates: those of an MR-VAE take one β."""
    data = Images(torch.zeros(20, 1, 8, 8).byte(), None)
    model = configure("mlp", hidden=[16], latent_units=4).build((1, 8, 8), "bernoulli", None)
    trial, evaluation = SimpleNamespace(method=BetaVAE(1.0)), Layered(EVALUATION.betas, pictures=3)
    folder.write(*draw_samples(trial, model, data, evaluation, torch.device("cpu")))
    pictures = _pictures(folder, SimpleNamespace(evaluation=evaluation), [])
    assert pictures.betas == ((0.1, 1.0), (1.0, 1.0))


def test_pictures_are_read_as_they_were_written(folder):
    notes = []
    pictures, arrays = _pictures(folder, PLANNED, notes), arrays_of(folder)
    assert notes == []
    assert pictures.betas == pictures.traversals.betas == ((0.1,), (1.0,))
    for name in ("originals", "reconstructions", "samples"):
        np.testing.assert_array_equal(getattr(pictures, name), arrays[name])
    np.testing.assert_array_equal(pictures.traversals.images, arrays["traversals"])
    np.testing.assert_array_equal(pictures.traversals.units, arrays["traversed_units"])
    np.testing.assert_array_equal(pictures.traversals.variances, arrays["traversed_variances"])
    assert pictures.traversals.images.shape == (2, 4, 7, 1, 8, 8)
    assert pictures.traversals.values == tuple(arrays["traversal_values"].tolist())


def test_pictures_of_earlier_versions_have_no_traversals(folder):
    names = ("betas", "originals", "reconstructions", "samples")
    write(folder, {name: array for name, array in arrays_of(folder).items() if name in names})
    notes = []
    pictures = _pictures(folder, PLANNED, notes)
    assert pictures.traversals is None
    assert pictures.samples.shape == (2, 3, 1, 8, 8)
    assert notes == []


def test_a_part_that_is_missing_is_said(folder):
    write(folder, {name: array for name, array in arrays_of(folder).items() if name != "traversed_units"})
    notes = []
    assert _pictures(folder, PLANNED, notes) is None
    (note,) = notes
    assert "pictures cannot be read" in note
    assert "traversed_units" in note


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 and no more", b"no archive"])
def test_a_damaged_file_is_a_note(folder, content):
    folder.write(f"pictures/{EVALUATION.eval_id}.npz", content)
    notes = []
    assert _pictures(folder, PLANNED, notes) is None
    assert f"{EVALUATION.eval_id}.npz: pictures cannot be read" in notes[0]


def test_the_training_until_a_measurement_is_by_the_share_of_all_training(make_trial, make_context):
    """Half of a GPU is held. Of one attempt 90 % of the work was its own; of another, as long, nothing tells."""
    trial = make_trial(epochs=4)
    context = replace(make_context(trial), intermediate_evaluation=IntermediateEvaluation(1, Evaluation((1.0,))))
    assert run_trial(trial, context).state == "done"
    folder = context.store.trial(trial.trial_id)
    history = from_parquet(HistoryRow, folder.read("history.parquet"), "history")
    whole = read_costs(folder)
    shared = [replace(cost, device_count=0.5, measured_share=share) for cost in whole for share in (0.9, None)]
    alone, mixed = (_along(folder, folder.manifest(), history, costs, []) for costs in (whole, shared))
    assert alone[0].device_seconds == pytest.approx(sum(row.seconds for row in history[:2]))
    assert mixed[0].device_seconds == pytest.approx(0.7 * alone[0].device_seconds)
