"""A text VAE as a trial like any other: trained, measured, accounted, and its sentences kept for the report."""

import json
import math
from pathlib import Path

import pytest

from evaluation.records import Point, from_parquet
from models.architectures.registry import configure
from workers.accounting.costs import read_costs
from workers.data.generated.phrases import Phrases
from workers.measuring import samples
from workers.outcome import Outcome
from workers.running.context import Context
from workers.running.run import run_trial
from workers.store.store import Store
from workers.trial import BetaVAE, Evaluation, MultiRateVAE, Objective, Resources, Training, Trial

LSTM = configure("lstm", latent_units=4, layout="texar", embedding_units=16, hidden_units=24)


def text_trial(method) -> Trial:
    training = Training(epochs=4, batch_size=16, learning_rate=1e-2, clip_norm=5.0)
    return Trial(Phrases(train_limit=160), LSTM, Objective("categorical"), method, training, seed=0)


@pytest.fixture(scope="module", params=[MultiRateVAE(0.01, 10.0), BetaVAE(0.1)], ids=["mr-vae", "beta-vae"])
def ran(request, tmp_path_factory):
    """A trial that was run, with its folder, its evaluation and its data."""
    trial = text_trial(request.param)
    evaluation = Evaluation((0.01, 1.0), metrics=("active_units", "perplexity"), pictures=3, limit=50)
    evaluation = evaluation.for_method(trial.method)
    data = trial.dataset.load(Path())
    store = Store(tmp_path_factory.mktemp("store"))
    context = Context(store, "text", evaluation, Resources(), load_data=lambda _: data)
    outcome = run_trial(trial, context)
    assert outcome.state == "done", outcome.message
    return trial, store.trial(trial.trial_id), evaluation, data


def test_perplexity_is_of_the_words_that_were_predicted(ran):
    """exp(-ELBO · sentences / words), the ends of sentences being words and their starts not."""
    _, folder, evaluation, data = ran
    name = f"points/{evaluation.eval_id}.parquet"
    for point in from_parquet(Point, folder.read(name), name):
        words = int((data.test.first(50).lengths - 1).sum())
        assert point.metrics["perplexity"] == pytest.approx(math.exp(-point.elbo * 50 / words), rel=1e-12)
        assert 1 < point.metrics["perplexity"] < Phrases.vocabulary
        assert (point.examples, point.distortion_unit) == (50, "nats")


def test_sentences_are_kept_for_every_beta(ran):
    """Originals, both decodings of each, and samples; all of them words of the vocabulary."""
    _, folder, evaluation, data = ran
    record = json.loads(folder.read(f"texts/{evaluation.eval_id}.json"))
    assert record["betas"] == list(evaluation.betas)
    assert record["originals"] == data.test.words(data.test.tokens[:3])
    for kind in ("greedy", "sampled", "samples"):
        assert [len(row) for row in record[kind]] == [3] * len(evaluation.betas)
        words = {word for row in record[kind] for sentence in row for word in sentence.split()}
        assert words <= set(data.test.vocabulary)


def test_work_is_counted_by_the_length_of_sentences(ran):
    """Two FLOPs a multiply-add, as much as the batches are long, three times as much in training."""
    trial, folder, evaluation, data = ran
    costs = {row.phase: row for row in read_costs(folder)}
    whole = 2 * trial.architecture.multiply_adds(trial.dataset.shape)
    share = float(data.test.first(50).lengths.double().mean()) / 11
    assert costs["evaluate"].images == 50 * len(evaluation.betas)
    if isinstance(trial.method, BetaVAE):
        assert costs["evaluate"].flops == pytest.approx(whole * share * 50, rel=1e-6)
    trained = costs["train"]
    assert trained.images == 4 * 160
    # A batch is as long as its longest sentence, and none is longer than 11 tokens or shorter than 7.
    assert 2.9 * whole * 7 / 11 < trained.flops / trained.images < 3.01 * whole * 1.05


def test_sentences_that_fail_cost_no_operating_point(tmp_path, monkeypatch):
    def raises(*_):
        raise ZeroDivisionError("no such luck")

    monkeypatch.setattr(samples, "_sentences", raises)
    trial = text_trial(BetaVAE(0.1))
    data = trial.dataset.load(Path())
    evaluation = Evaluation((0.1,), metrics=("perplexity",), limit=10)
    context = Context(Store(tmp_path), "text", evaluation, Resources(), load_data=lambda _: data)
    assert run_trial(trial, context) == Outcome("done", "sentences failed: ZeroDivisionError: no such luck")
    name = f"points/{evaluation.eval_id}.parquet"
    (point,) = from_parquet(Point, context.store.trial(trial.trial_id).read(name), name)
    assert point.metrics["perplexity"] > 1
