"""The LSTM text VAE: published sizes, the evidence computed by hand, padding, decoding, and training that resumes."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from evaluation.records import Point, from_parquet
from models.architecture import Gating
from models.architectures.lstm import network as lstm_network
from models.architectures.lstm.lstm import LSTM, NO_WORDS
from models.gates import Gate
from models.vae import END, PAD, START, UNKNOWN
from workers.data.dataset import Dataset
from workers.data.sentences import Sentences
from workers.data.split import ResidentData
from workers.outcome import Outcome
from workers.running.context import Context
from workers.running.run import run_trial
from workers.store.store import Store
from workers.training.checkpoint import FINAL
from workers.trial import BetaVAE, Evaluation, MultiRateVAE, Objective, Resources, Training, Trial

if TYPE_CHECKING:
    from models.architectures.lstm.network import LSTMVAE

SIGMOID = Gating("sigmoid", "sigmoid")
HE = LSTM()
TEXAR = LSTM(layout="texar", embedding_units=256, hidden_units=256)
TEXAR_V1 = LSTM(layout="texar", embedding_units=512, hidden_units=550)
VOCABULARY, LONGEST, UNITS = 9, 8, 3
SMALL = {
    "he": LSTM(latent_units=UNITS, embedding_units=5, hidden_units=4),
    "texar": LSTM(latent_units=UNITS, layout="texar", embedding_units=5, hidden_units=4),
}
NETWORKS = [
    pytest.param(layout, gating, layers, id=f"{layout}-{layers if gating else 'plain'}")
    for layout in SMALL
    for gating, layers in ((None, "gates-only"), (SIGMOID, "gates-only"), (SIGMOID, "authors"))
]
SENTENCES = [[4, 5, 6, 7], [8, 4], [UNKNOWN], [6, 6, 6, 5, 4, 8], [5, 8]]


def small(layout="he", gating=None, layers="gates-only", **options) -> LSTMVAE:
    """Return a small network in double precision and eval mode; always the same."""
    torch.manual_seed(1)
    configured = dataclasses.replace(SMALL[layout], multi_rate_layers=layers, **options)
    return configured.build((LONGEST, VOCABULARY), "categorical", gating).double().eval()


def padded(sentences, width=LONGEST) -> torch.Tensor:
    """Return sentences of words in the form of x."""
    rows = [[START, *words, END] for words in sentences]
    return torch.tensor([row + [PAD] * (width - len(row)) for row in rows])


def batch(gating):
    """Return x, condition and noise: one β an example."""
    generator = torch.Generator().manual_seed(2)
    condition = torch.linspace(-1.7, 1.7, len(SENTENCES)).double().unsqueeze(1) if gating else None
    noise = torch.randn(len(SENTENCES), UNITS, generator=generator, dtype=torch.float64)
    return padded(SENTENCES), condition, [noise]


def numbers(output):
    """Return every tensor in the evidence, each with the batch first."""
    return (output.distortion, output.rates, *output.posteriors[0])


def loss_of(output):
    return (output.distortion + output.rates.sum(1)).mean()


def gradients(model):
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}


def counted(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("options", "vocabulary", "encoder", "decoder"),
    [
        (HE, 20_001, 16_605_696 + 64, 37_185_024),
        (HE, 10_002, 11_486_208 + 64, 21_826_560),
        (TEXAR, 20_001, 5_677_376, 10_834_465),
    ],
)
def test_published_sizes_of_the_plain_networks(options, vocabulary, encoder, decoder):
    """MR-VAE's port of He et al. has two heads with biases where those have one without: 64 numbers more."""
    with torch.device("meta"):
        model = options.build((50, vocabulary), "categorical", None)
    assert (counted(model.encoder), counted(model.decoder)) == (encoder, decoder)
    assert options.parameters((50, vocabulary), multi_rate=False) == encoder + decoder


@pytest.mark.parametrize(
    ("options", "vocabulary", "plain", "gates", "authors"),
    [
        (HE, 20_001, 53_790_784, 6_272, 54_847_680),
        (HE, 10_002, 33_312_832, 6_272, None),
        (TEXAR, 20_001, 16_511_841, 3_200, 17_042_401),
        (TEXAR, 10_002, 8_822_610, 3_200, None),
        (TEXAR_V1, 20_001, 36_351_539, 6_576, 38_784_715),
        (TEXAR_V1, 10_002, 20_603_114, 6_576, None),
    ],
)
def test_published_sizes_of_the_multi_rate_networks(options, vocabulary, plain, gates, authors):
    """Without the authors' additional layers, a multi-rate network is the plain one and its gates."""
    shape = (50, vocabulary)
    with_authors = dataclasses.replace(options, multi_rate_layers="authors")
    assert options.parameters(shape, multi_rate=False) == with_authors.parameters(shape, multi_rate=False) == plain
    assert options.parameters(shape, multi_rate=True) == plain + gates
    if authors:
        assert with_authors.parameters(shape, multi_rate=True) == authors
    with torch.device("meta"):
        for configured in (options, with_authors):
            for gating in (None, SIGMOID):
                model = configured.build(shape, "categorical", gating)
                assert counted(model) == configured.parameters(shape, multi_rate=gating is not None)


@pytest.mark.parametrize(("layout", "summary"), [("he", 4), ("texar", 8)])
def test_gates_are_where_the_authors_have_them(layout, summary):
    """The positions of their port, less those that belong to their additional layers."""
    gates = {name: len(each.bias) for name, each in small(layout, SIGMOID).named_modules() if isinstance(each, Gate)}
    assert gates == {
        "encoder.words.gate": 5,
        "encoder.summary.gate": summary,
        "encoder.mean.0.gate": UNITS,
        "encoder.log_variance.0.gate": UNITS,
        "decoder.words.gate": 5,
        "decoder.start.gate": summary,
    }
    assert not any(isinstance(each, Gate) for each in small(layout, None, "authors").modules())


def test_gates_have_the_activations_that_the_gating_names():
    model = small("he", Gating("double-sigmoid", "sqrt-relu"))
    for half, activation in ((model.encoder, "double_sigmoid"), (model.decoder, "sqrt_relu")):
        assert {each.activation.__name__ for each in half.modules() if isinstance(each, Gate)} == {activation}


def test_word_vectors_start_as_long_as_the_layouts_have_them():
    """N(0, 1) for he, and N(0, 1 / units) for texar."""
    for layout, variance in (("he", 1.0), ("texar", 1 / 64)):
        torch.manual_seed(0)
        options = dataclasses.replace(SMALL[layout], embedding_units=64)
        model = options.build((LONGEST, 2000), "categorical", None)
        for half in (model.encoder, model.decoder):
            assert half.words.weight.var().item() == pytest.approx(variance, rel=0.02)


# The evidence, by hand: one sentence at a time, unpadded, from the equations.


def factor(gate, condition):
    return 1.0 if gate is None else torch.sigmoid(gate.weight * condition + gate.bias)


def states_by_hand(lstm, vectors, hidden, cell):
    """Yield h and c after each vector (Hochreiter and Schmidhuber 1997, with the forget gate)."""
    weights = dict(lstm.named_parameters())
    bias = weights["bias_ih_l0"] + weights["bias_hh_l0"] if "bias_ih_l0" in weights else 0.0
    for vector in vectors:
        joined = weights["weight_ih_l0"] @ vector + weights["weight_hh_l0"] @ hidden + bias
        enter, forget, candidate, leave = joined.chunk(4)
        cell = torch.sigmoid(forget) * cell + torch.sigmoid(enter) * torch.tanh(candidate)
        hidden = torch.sigmoid(leave) * torch.tanh(cell)
        yield hidden, cell


def head_by_hand(head, summary, condition):
    *hidden, last = head
    for layer in hidden:
        summary = torch.relu(layer.linear.weight @ summary + layer.linear.bias) * factor(layer.gate, condition)
    return (last.linear.weight @ summary + last.linear.bias) * factor(last.gate, condition)


def posterior_by_hand(encoder, layout, layers, words, condition):
    vectors = encoder.words.weight[[START, *words, END]] * factor(encoder.words.gate, condition)
    zero = torch.zeros(4, dtype=torch.float64)
    *_, (hidden, cell) = states_by_hand(encoder.lstm, vectors, zero, zero)
    summary = torch.cat([hidden, cell]) if layout == "texar" else hidden
    if (layout, layers) == ("he", "authors") and encoder.summary.gate is not None:
        summary = encoder.summary.linear.weight @ summary + encoder.summary.linear.bias
    summary = summary * factor(encoder.summary.gate, condition)
    return head_by_hand(encoder.mean, summary, condition), head_by_hand(encoder.log_variance, summary, condition)


def distortion_by_hand(decoder, layout, words, latents, condition):
    start = decoder.start.linear.weight @ latents
    if decoder.start.linear.bias is not None:
        start = start + decoder.start.linear.bias
    start = start * factor(decoder.start.gate, condition)
    hidden, cell = start.chunk(2) if layout == "texar" else (torch.tanh(start), start)
    vectors = decoder.words.weight[[START, *words]] * factor(decoder.words.gate, condition)
    given = [torch.cat([vector, latents]) for vector in vectors]
    total = 0.0
    for (state, _), word in zip(states_by_hand(decoder.lstm, given, hidden, cell), [*words, END], strict=True):
        logits = decoder.output.weight @ state
        if decoder.output.bias is not None:
            logits = logits + decoder.output.bias
        total = total - logits.log_softmax(0)[word]
    return total


@pytest.mark.parametrize(("layout", "gating", "layers"), NETWORKS)
def test_evidence_is_that_of_the_equations(layout, gating, layers):
    """Each sentence of a padded batch has the evidence that it has by hand, on its own and unpadded."""
    model, (x, condition, noise) = small(layout, gating, layers), batch(gating)
    output = model(x, condition, noise)
    assert output.reconstruction is None
    assert output.rates.shape == (len(SENTENCES), 1)
    assert (model.distortion_unit, model.latent_shapes) == ("nats", ((UNITS,),))
    for row, words in enumerate(SENTENCES):
        own = None if condition is None else condition[row]
        mean, log_variance = posterior_by_hand(model.encoder, layout, layers, words, own)
        latents = mean + torch.exp(0.5 * log_variance) * noise[0][row]
        torch.testing.assert_close([each[row] for each in output.posteriors[0]], [mean, log_variance, latents])
        rate = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum()
        torch.testing.assert_close(output.rates[row, 0], rate)
        expected = distortion_by_hand(model.decoder, layout, words, latents, own)
        torch.testing.assert_close(output.distortion[row], expected)


@pytest.mark.parametrize("layout", SMALL)
def test_an_untrained_output_layer_costs_the_logarithm_of_the_vocabulary_for_each_token_after_the_first(layout):
    model, (x, _, noise) = small(layout), batch(None)
    torch.nn.init.zeros_(model.decoder.output.weight)
    if model.decoder.output.bias is not None:
        torch.nn.init.zeros_(model.decoder.output.bias)
    tokens = torch.tensor([len(words) + 1 for words in SENTENCES]).double()
    torch.testing.assert_close(model(x, None, noise).distortion, tokens * torch.tensor(VOCABULARY).double().log())


@pytest.mark.parametrize(("layout", "gating", "layers"), NETWORKS)
def test_padding_a_batch_more_changes_nothing(layout, gating, layers):
    """Neither evidence nor gradients see PAD; no gradient reaches its word vector."""
    model, (x, condition, noise) = small(layout, gating, layers), batch(gating)
    found = []
    for tokens in (x, functional.pad(x, (0, 5), value=PAD)):
        model.zero_grad()
        output = model(tokens, condition, noise)
        loss_of(output).backward()
        found.append((numbers(output), gradients(model)))
    torch.testing.assert_close(found[1], found[0])
    for half in (model.encoder, model.decoder):
        assert not half.words.weight.grad[PAD].any()


@pytest.mark.parametrize(("layout", "gating", "layers"), NETWORKS)
def test_training_reaches_every_parameter(layout, gating, layers):
    """Gradients are finite, and none is 0 throughout."""
    model, (x, condition, noise) = small(layout, gating, layers), batch(gating)
    loss_of(model(x, condition, noise)).backward()
    for name, gradient in gradients(model).items():
        assert torch.isfinite(gradient).all(), name
        assert gradient.any(), name


@pytest.mark.parametrize("layout", SMALL)
def test_logits_of_few_tokens_at_once_make_the_same_evidence_and_gradients(layout, monkeypatch):
    """How much is in memory together changes nothing."""
    model, (x, condition, noise) = small(layout, SIGMOID), batch(SIGMOID)
    found = []
    for tokens in (lstm_network.TOKENS_AT_ONCE, 3):
        monkeypatch.setattr(lstm_network, "TOKENS_AT_ONCE", tokens)
        model.zero_grad()
        output = model(x, condition, noise)
        loss_of(output).backward()
        found.append((numbers(output), gradients(model)))
    torch.testing.assert_close(found[1], found[0])


@settings(max_examples=10, deadline=None)
@given(
    others=st.lists(st.lists(st.integers(UNKNOWN, VOCABULARY - 1), min_size=1, max_size=6), min_size=4, max_size=4),
    betas=st.lists(st.floats(-5, 5), min_size=4, max_size=4),
    layout=st.sampled_from(list(SMALL)),
)
def test_a_sentence_does_not_depend_on_the_others_or_their_beta(others, betas, layout):
    model, (x, condition, noise) = small(layout, SIGMOID), batch(SIGMOID)
    changed = torch.cat([condition[:1], torch.tensor(betas, dtype=torch.float64).unsqueeze(1)])
    straight = numbers(model(x, condition, noise))
    found = numbers(model(padded([SENTENCES[0], *others]), changed, noise))
    torch.testing.assert_close([each[0] for each in found], [each[0] for each in straight])


@pytest.mark.parametrize("layout", SMALL)
def test_the_condition_reaches_encoder_and_decoder(layout):
    model, (x, condition, noise) = small(layout, SIGMOID), batch(SIGMOID)
    assert not torch.allclose(model(x, condition, noise).rates, model(x, condition - 1, noise).rates)
    latents = noise[0]
    one, other = (model.decoder.distortion(x, latents, each) for each in (condition, condition - 1))
    assert not torch.allclose(one, other)


@pytest.mark.parametrize("layout", SMALL)
def test_open_gates_leave_the_plain_network(layout):
    """With every factor 1, the multi-rate network computes what the plain one of the same weights does."""
    gated, plain = small(layout, SIGMOID), small(layout)
    for gate in (each for each in gated.modules() if isinstance(each, Gate)):
        torch.nn.init.zeros_(gate.weight)
        torch.nn.init.constant_(gate.bias, 50.0)
    plain.load_state_dict({name: value for name, value in gated.state_dict().items() if ".gate." not in name})
    x, condition, noise = batch(SIGMOID)
    torch.testing.assert_close(numbers(gated(x, condition, noise)), numbers(plain(x, None, noise)))


@pytest.mark.parametrize(
    ("gating", "condition", "message"),
    [
        (SIGMOID, None, "a multi-rate model needs a condition"),
        (None, torch.zeros(5, 1), "a plain VAE takes no condition"),
    ],
)
def test_a_condition_that_does_not_fit_the_model_is_refused(gating, condition, message):
    model, (x, _, noise) = small("he", gating), batch(None)
    for attempt in (
        lambda: model(x, condition, noise),
        lambda: model.generate(noise, condition),
        lambda: model.decode(noise[0], condition, 5, None),
    ):
        with pytest.raises(ValueError, match=message):
            attempt()


@pytest.mark.parametrize(("layout", "gating", "layers"), NETWORKS)
def test_bfloat16_stays_inside_the_network(layout, gating, layers):
    """Under autocast the evidence is float32 and near that of float32; so are the gradients."""
    model, (x, condition, noise) = small(layout, gating, layers).float(), batch(gating)
    condition = None if condition is None else condition.float()
    found = []
    for enabled in (False, True):
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            output = model(x, condition, [noise[0].float()])
        loss_of(output).backward()
        assert {each.dtype for each in numbers(output)} == {torch.float32}
        found.append((numbers(output), gradients(model)))
    torch.testing.assert_close(found[1], found[0], rtol=0.05, atol=0.02)
    assert not torch.equal(found[1][0][0], found[0][0][0])


# Dropout.


def test_dropout_is_the_only_thing_that_draws_and_only_in_training():
    model, (x, _, noise) = small(dropout=0.5), batch(None)
    assert model.draws_on_its_own
    assert not small(dropout=0.0).draws_on_its_own
    straight = model(x, None, noise).distortion
    torch.testing.assert_close(model(x, None, noise).distortion, straight, rtol=0, atol=0)
    model.train()
    drawn = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        drawn.append(model(x, None, noise))
    assert torch.equal(drawn[0].distortion, drawn[1].distortion)
    assert not torch.allclose(drawn[0].distortion, drawn[2].distortion)
    assert not torch.allclose(drawn[0].distortion, straight)
    torch.testing.assert_close(drawn[0].rates, drawn[2].rates, rtol=0, atol=0)


@pytest.mark.parametrize(("layout", "gating", "layers"), NETWORKS)
def test_dropout_is_on_the_words_and_on_z_in_the_authors_network_after_he_alone(layout, gating, layers):
    """What is left is scaled to keep its mean; the encoder's words are all read."""
    model, (x, condition, noise) = small(layout, gating, layers, dropout=0.5).train(), batch(gating)
    read = {}
    for half in ("encoder", "decoder"):
        getattr(model, half).lstm.register_forward_pre_hook(lambda _, given, half=half: read.update({half: given[0]}))
    torch.manual_seed(3)
    latents = model(x, condition, noise).posteriors[0].sample
    words, beside = read["decoder"].split([5, UNITS], 2)
    full = model.decoder.words.vectors(x[:, :-1], condition)
    assert torch.logical_or(words == 0, torch.isclose(words, 2 * full)).all()
    assert 0.3 < (words == 0).double().mean() < 0.7
    whole = latents.unsqueeze(1).expand_as(beside)
    if gating and (layout, layers) == ("he", "authors"):
        assert torch.logical_or(beside == 0, torch.isclose(beside, 2 * whole)).all()
        assert 0.3 < (beside == 0).double().mean() < 0.7
    else:
        assert torch.equal(beside, whole)
    encoded = read["encoder"].data if layout == "texar" else read["encoder"]
    assert (encoded != 0).all()


# Decoding.


@pytest.mark.parametrize(("layout", "gating"), [("he", SIGMOID), ("texar", None)])
def test_a_model_that_learnt_its_sentences_writes_them(layout, gating):
    """Greedy decoding of each posterior's mean is the sentence it came from, in the form of x."""
    torch.manual_seed(0)
    options = dataclasses.replace(SMALL[layout], embedding_units=16, hidden_units=32, dropout=0.0)
    model = options.build((LONGEST, VOCABULARY), "categorical", gating)
    x, condition, _ = batch(gating)
    condition = None if condition is None else condition.float()
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    silence = [torch.zeros(len(x), UNITS)]
    for _ in range(150):
        optimiser.zero_grad()
        model(x, condition, silence).distortion.mean().backward()
        optimiser.step()
    model.eval()
    latents = model(x, condition, silence).posteriors[0].mean
    assert torch.equal(model.decode(latents, condition, LONGEST, None), x)
    assert torch.equal(model.decode(latents, condition, 100, None), x), "it stops where the last sentence ends"
    assert torch.equal(model.decode(latents, condition, 4, None), x[:, :4])
    assert torch.equal(model.generate([latents], condition), x)


@pytest.mark.parametrize("layout", SMALL)
@pytest.mark.parametrize("seed", [None, 0])
def test_sentences_have_the_form_of_x(layout, seed):
    """START, then words, then END where it came in time, then PAD; PAD and START are never chosen."""
    model = small(layout)
    with torch.no_grad():
        for parameter in model.decoder.output.parameters():
            parameter.zero_()
        model.decoder.output.weight[PAD] = 50.0  # one of the two has the largest logit, whatever it is given
        model.decoder.output.weight[START] = -50.0
    latents = torch.randn(200, UNITS, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    tokens = model.decode(latents, None, LONGEST, generator)
    assert tokens.dtype == torch.int64
    assert (tokens[:, 0] == START).all()
    over = (tokens == END).cumsum(1).cumsum(1) > 1
    assert (tokens[over] == PAD).all()
    rest = tokens[:, 1:][~over[:, 1:]]
    assert not ((rest == PAD) | (rest == START)).any()
    if seed is not None:
        assert over.any(dim=1).sum() > 50


def test_words_are_drawn_from_their_probabilities():
    """The first word of 40,000 sentences from one z: frequencies within 5 standard errors of p(x₁|z), renormalised."""
    model, count = small("texar"), 40_000
    latents = torch.full((1, UNITS), 0.7, dtype=torch.float64)
    with torch.no_grad():
        features, _ = model.decoder.read(
            torch.tensor([[START]]), latents, None, model.decoder.first_state(latents, None)
        )
        expected = (3 * model.decoder.output(features)).softmax(2).flatten()
        for parameter in model.decoder.output.parameters():
            parameter.mul_(3)  # far from uniform
    expected[[PAD, START]] = 0
    expected /= expected.sum()
    tokens = model.decode(latents.expand(count, UNITS), None, 2, torch.Generator().manual_seed(0))
    frequencies = torch.bincount(tokens[:, 1], minlength=VOCABULARY).double() / count
    error = (expected * (1 - expected) / count).sqrt()
    assert (frequencies[[PAD, START]] == 0).all()
    assert ((frequencies - expected).abs() <= 5 * error).all()
    assert expected.max() > 2 * expected[END:].min(), "the test could not tell them from uniform draws"


def test_drawn_words_are_a_function_of_the_generator():
    model, (_, _, noise) = small(), batch(None)
    drawn = [model.decode(noise[0], None, LONGEST, torch.Generator().manual_seed(seed)) for seed in (5, 5, 6)]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_decoding_draws_no_gradient_and_leaves_the_global_generator():
    model, (_, _, noise) = small(), batch(None)
    state = torch.random.get_rng_state()
    tokens = model.decode(noise[0].requires_grad_(), None, LONGEST, torch.Generator().manual_seed(0))
    assert not tokens.requires_grad
    assert torch.equal(torch.random.get_rng_state(), state)


# What planning reads.


@pytest.mark.parametrize("layout", SMALL)
def test_multiply_adds_are_those_that_are_counted_at_the_longest_length(layout):
    """In float64, whose LSTM torch's counter can look into: oneDNN has none."""
    model = small(layout)
    with FlopCounterMode(display=False) as counter:
        model(model.blank(2, (LONGEST, VOCABULARY)), None, [torch.zeros(2, UNITS, dtype=torch.float64)])
    assert counter.get_total_flops() / 2 == 2 * SMALL[layout].multiply_adds((LONGEST, VOCABULARY))


def test_multiply_adds_of_yahoo_are_mostly_those_of_the_output_layer():
    """By hand: 50 tokens are read, 49 written, and the heads and the start have 3 · 32 · 1024."""
    lstms = 50 * 4 * 1024 * (512 + 1024) + 49 * 4 * 1024 * (544 + 1024)
    output = 49 * 1024 * 20_001
    assert HE.multiply_adds((50, 20_001)) == lstms + output + 3 * 32 * 1024


@pytest.mark.parametrize("shape", [(1, 28, 28), (2, 100), (50, 4), (50,), ()])
def test_a_shape_that_is_no_text_is_refused(shape):
    message = rf"'lstm' takes text, .* 3 tokens or more, .* of 5 or more; not {'x'.join(map(str, shape))}$"
    for attempt in (
        lambda: HE.check_shape(shape),
        lambda: HE.parameters(shape, multi_rate=False),
        lambda: HE.multiply_adds(shape),
        lambda: HE.build(shape, "categorical", None),
    ):
        with pytest.raises(ValueError, match=message):
            attempt()


def test_the_smallest_text_is_taken():
    model = LSTM(embedding_units=2, hidden_units=2).build((3, NO_WORDS + 1), "categorical", None)
    output = model(torch.tensor([[START, 4, END]]), None, [torch.zeros(1, 32)])
    assert torch.isfinite(output.distortion).all()


@pytest.mark.parametrize("likelihood", ["bernoulli", "squared-error"])
def test_another_likelihood_is_refused(likelihood):
    message = f"'lstm' is for text: likelihood must be 'categorical', not '{likelihood}'"
    with pytest.raises(ValueError, match=message):
        HE.check_likelihood(likelihood)
    with pytest.raises(ValueError, match=message):
        HE.build((50, 100), likelihood, None)


@pytest.mark.parametrize("option", ["latent_units", "embedding_units", "hidden_units"])
@pytest.mark.parametrize("value", [0, -1, 2.0, "32", True, None])
def test_sizes_must_be_counts(option, value):
    with pytest.raises(ValueError, match=rf"{option} is .*; it must be a whole number, 1 or more"):
        LSTM(**{option: value})


@pytest.mark.parametrize(("option", "choices"), [("layout", "he, texar"), ("multi_rate_layers", "gates-only, authors")])
def test_choices_are_those_that_are_named(option, choices):
    with pytest.raises(ValueError, match=rf"{option} is 'v1'; choose one of {choices}$"):
        LSTM(**{option: "v1"})


@pytest.mark.parametrize("dropout", [-0.1, 1, 1.5, float("nan"), "0.5", True, None])
def test_dropout_must_leave_something(dropout):
    with pytest.raises(ValueError, match=r"dropout is .*; it must be a number from 0 \(none\) to below 1"):
        LSTM(dropout=dropout)


def test_a_whole_dropout_is_the_same_configuration():
    """0 and 0.0 are one option and one identity."""
    assert json.dumps(dataclasses.asdict(LSTM(dropout=0))) == json.dumps(dataclasses.asdict(LSTM(dropout=0.0)))


def test_planning_does_not_import_torch():
    program = (
        "import sys; from models.architectures.lstm.lstm import LSTM\n"
        "assert LSTM().parameters((50, 100), multi_rate=True) > LSTM().multiply_adds((50, 100)) / 50\n"
        "assert 'torch' not in sys.modules, 'torch was imported'"
    )
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr


def test_tokens_that_are_no_words_are_those_of_the_contract():
    assert sorted([PAD, START, END, UNKNOWN]) == list(range(NO_WORDS))


# As a trial.


@dataclasses.dataclass(frozen=True)
class TinyText(Dataset):
    """Forty sentences that count up from a word."""

    name = "tiny-text"
    shape = (LONGEST, 14)
    train_examples = 40
    test_examples = 40
    has_labels = False


def tiny_split() -> Sentences:
    rows = [[4 + (row + step) % 10 for step in range(1 + row % 6)] for row in range(40)]
    return Sentences(
        tokens=padded(rows).int(),
        lengths=torch.tensor([len(row) + 2 for row in rows]),
        vocabulary=("<pad>", "<s>", "</s>", "<unk>", *"abcdefghij"),
    )


class StopAfter:
    """Asks to stop at the n-th question."""

    def __init__(self, questions: int) -> None:
        self.left = questions

    def __call__(self) -> bool:
        self.left -= 1
        return self.left < 0


@pytest.fixture
def in_store(tmp_path):
    """Return a function that runs a trial in a store of the given name, and one that gives its weights and points."""
    split = tiny_split()

    def context_of(trial, name, **fields):
        evaluation = Evaluation(betas=(0.1, 1.0), metrics=("active_units", "perplexity"), pictures=3)
        return Context(
            store=Store(tmp_path / name),
            sweep="test",
            evaluation=evaluation.for_method(trial.method),
            resources=Resources(),
            load_data=lambda _: ResidentData(split, split, split),
            **fields,
        )

    def results(trial, context):
        folder = context.store.trial(trial.trial_id)
        points = from_parquet(Point, folder.read(f"points/{context.evaluation.eval_id}.parquet"), "points")
        texts = json.loads(folder.read(f"texts/{context.evaluation.eval_id}.json"))
        return safetensors.torch.load(folder.read(FINAL)), points, texts

    return context_of, results


def tiny_trial(method, layout="he", precision="float32", **options) -> Trial:
    return Trial(
        dataset=TinyText(),
        architecture=dataclasses.replace(SMALL[layout], **options),
        objective=Objective(likelihood="categorical"),
        method=method,
        training=Training(epochs=2, batch_size=8, precision=precision, clip_norm=5.0),
        seed=0,
    )


@pytest.mark.parametrize(
    ("method", "layout", "questions"),
    [
        (BetaVAE(0.5), "he", 1),
        (MultiRateVAE(0.01, 10.0, decoder_gate="sigmoid"), "he", 7),
        (MultiRateVAE(0.01, 10.0), "texar", 8),
    ],
)
def test_a_stopped_trial_ends_bit_identical_with_dropout_on(in_store, method, layout, questions):
    context_of, results = in_store
    trial = tiny_trial(method, layout, dropout=0.5)
    undisturbed = context_of(trial, "undisturbed")
    assert run_trial(trial, undisturbed) == Outcome("done")
    stopped = context_of(trial, "stopped", should_stop=StopAfter(questions))
    assert run_trial(trial, stopped) == Outcome("stopped")
    torch.rand(3)  # whatever else draws from the global generator in between
    assert run_trial(trial, context_of(trial, "stopped")) == Outcome("done")
    weights, points, texts = results(trial, undisturbed)
    others, *rest = results(trial, stopped)
    assert weights.keys() == others.keys()
    assert all(torch.equal(weights[name], others[name]) for name in weights)
    assert rest == [points, texts]
    assert all(point.metrics["perplexity"] > 1 and point.distortion_unit == "nats" for point in points)
    assert texts["originals"] == ["a", "b c", "c d e"]


def test_dropout_is_part_of_what_is_trained(in_store):
    """With and without, the same seed ends at other weights."""
    context_of, results = in_store
    weights = []
    for dropout in (0.0, 0.5):
        trial = tiny_trial(BetaVAE(0.5), dropout=dropout)
        context = context_of(trial, str(dropout))
        assert run_trial(trial, context) == Outcome("done")
        weights.append(results(trial, context)[0])
    assert any(not torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_a_trial_in_bfloat16_is_near_one_in_float32(in_store):
    context_of, results = in_store
    found = []
    for precision in ("float32", "bfloat16"):
        trial = tiny_trial(MultiRateVAE(0.01, 10.0), "he", precision)
        context = context_of(trial, precision)
        assert run_trial(trial, context) == Outcome("done")
        found.append([point.distortion for point in results(trial, context)[1]])
    assert found[0] != found[1]
    assert found[0] == pytest.approx(found[1], rel=0.05)
