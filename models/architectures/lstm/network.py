"""The network of the LSTM text VAE."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

from models.gates import Gate
from models.layers.modules import GatedLayer, Stack, gated_layer
from models.layers.tables import Dense
from models.likelihoods import at_least_float32
from models.vae import END, PAD, START, ModelOutput, Posterior, TextVAE, draw, gaussian_rate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from models.architecture import Gating
    from models.architectures.lstm.options import LSTMOptions
    from models.shapes import Shape

State = tuple[Tensor, Tensor]
"""The hidden state and the cell of an LSTM, each (1, B, H)."""

TOKENS_AT_ONCE = 2048
"""Tokens whose logits are in memory together: 160 MiB at 20,001 words; all of a batch would need gigabytes."""


def run(lstm: nn.LSTM, vectors: Tensor | PackedSequence, state: State | None = None) -> tuple[Tensor, State]:
    """Return an LSTM's outputs (B, T, H) and its last state.

    Under autocast a CPU computes it in float32, because oneDNN has bfloat16 LSTMs for some processors only.
    """
    with torch.autocast("cpu", enabled=False):
        outputs, last = lstm(vectors, state)
    return outputs, last


class GatedEmbedding(nn.Embedding):
    """Word vectors; in the multi-rate network each of their components has a gate, the same for all words."""

    def __init__(self, vocabulary: int, units: int, activation: str | None, *, small: bool) -> None:
        super().__init__(vocabulary, units)
        if small:
            nn.init.normal_(self.weight, std=units**-0.5)
        self.gate = Gate(units, activation) if activation else None

    def vectors(self, tokens: Tensor, condition: Tensor | None) -> Tensor:
        """Return the word vectors (B, T, units) of tokens (B, T)."""
        vectors: Tensor = self(tokens)
        if self.gate is not None:
            vectors = self.gate(vectors.mT, condition).mT  # gates are on axis 1
        return vectors


class LSTMEncoder(nn.Module):
    """q(z|x) from the state after the last token of each sentence: h, or h and c where `states` is 2."""

    def __init__(
        self, words: GatedEmbedding, lstm: nn.LSTM, summary: GatedLayer, mean: Stack, log_variance: Stack, states: int
    ) -> None:
        super().__init__()
        self.words = words
        self.lstm = lstm
        self.summary = summary
        self.mean = mean
        self.log_variance = log_variance
        self.states = states

    def forward(self, x: Tensor, condition: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return mean and log variance, each (B, latent units), of sentences (B, T)."""
        summary = self.summary(self._last_state(x, self.words.vectors(x, condition)), condition)
        return self.mean(summary, condition), self.log_variance(summary, condition)

    def _last_state(self, x: Tensor, vectors: Tensor) -> Tensor:
        lengths = (x != PAD).sum(1)
        if self.states == 1:  # the outputs have every h, and on a CPU take half the time of a packed sequence
            outputs, _ = run(self.lstm, vectors)
            return outputs[torch.arange(len(x), device=x.device), lengths - 1]
        packed = pack_padded_sequence(vectors, lengths.cpu(), batch_first=True, enforce_sorted=False)
        _, state = run(self.lstm, packed)
        return torch.cat(state, 2).squeeze(0)


class LSTMDecoder(nn.Module):
    """p(x|z), word by word; dropout is on its LSTM's outputs and word vectors, and on z with `latents_dropped`."""

    def __init__(
        self,
        words: GatedEmbedding,
        start: GatedLayer,
        lstm: nn.LSTM,
        output: nn.Linear,
        dropout: float,
        *,
        latents_dropped: bool,
    ) -> None:
        super().__init__()
        self.words = words
        self.start = start
        self.lstm = lstm
        self.output = output
        self.dropout = nn.Dropout(dropout)
        self.latents_dropped = latents_dropped

    def distortion(self, x: Tensor, latents: Tensor, condition: Tensor | None) -> Tensor:
        """Return the cross-entropy (B,) of sentences (B, T) in nats, in float32 or more; see `TextVAE`."""
        features, _ = self.read(x[:, :-1], latents, condition, self.first_state(latents, condition))
        following = x[:, 1:]
        counted = following != PAD
        # PAD is removed before the output layer, which needs most of the time and memory.
        pieces = (torch.split(tensor[counted], TOKENS_AT_ONCE) for tensor in (features, following))
        each = torch.cat([self._cross_entropy(*piece) for piece in zip(*pieces, strict=True)])
        return each.new_zeros(following.shape).masked_scatter(counted, each).sum(1)

    def first_state(self, latents: Tensor, condition: Tensor | None) -> State:
        """Return the state before the first token, for latents (B, latent units)."""
        state = at_least_float32(self.start(latents, condition)).unsqueeze(0)
        if state.shape[2] == self.lstm.hidden_size:
            return torch.tanh(state), state
        hidden, cell = state.chunk(2, 2)
        return hidden.contiguous(), cell.contiguous()

    def read(self, tokens: Tensor, latents: Tensor, condition: Tensor | None, state: State) -> tuple[Tensor, State]:
        """Return the output layer's input (B, T, H) after each of the tokens (B, T), and the last state."""
        vectors = self.words.vectors(tokens, condition)
        beside = latents.unsqueeze(1).expand(-1, tokens.shape[1], -1)
        if self.latents_dropped:
            given = self.dropout(torch.cat([vectors, beside], 2))
        else:
            given = torch.cat([self.dropout(vectors), beside], 2)
        features, state = run(self.lstm, given, state)
        return self.dropout(features), state

    def _cross_entropy(self, features: Tensor, following: Tensor) -> Tensor:
        return functional.cross_entropy(at_least_float32(self.output(features)), following, reduction="none")


class LSTMVAE(TextVAE):
    """A VAE of sentences with one Gaussian latent layer and prior N(0, I); `lstm.LSTM` describes it."""

    distortion_unit = "nats"

    def __init__(
        self, encoder: LSTMEncoder, decoder: LSTMDecoder, latent_units: int, longest: int, *, multi_rate: bool
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.latent_shapes = ((latent_units,),)
        self.longest = longest
        self.multi_rate = multi_rate
        self.draws_on_its_own = decoder.dropout.p > 0

    def forward(self, x: Tensor, condition: Tensor | None, noise: Sequence[Tensor]) -> ModelOutput:
        """Return the output for sentences (B, T); see `VAE.forward`."""
        self.check_condition(condition)
        (latent_noise,) = noise
        mean, log_variance = map(at_least_float32, self.encoder(x, condition))
        posterior = Posterior(mean, log_variance, draw(mean, log_variance, latent_noise))
        return ModelOutput(
            distortion=self.decoder.distortion(x, posterior.sample, condition),
            rates=gaussian_rate(mean, log_variance).unsqueeze(1),
            posteriors=(posterior,),
            reconstruction=None,
        )

    def generate(self, noise: Sequence[Tensor], condition: Tensor | None) -> Tensor:
        """Return the most likely words for latents drawn from the prior; see `VAE.generate`."""
        (latents,) = noise
        return self.decode(latents, condition, self.longest, None)

    @torch.no_grad()
    def decode(
        self, latents: Tensor, condition: Tensor | None, longest: int, generator: torch.Generator | None
    ) -> Tensor:
        """Return sentences (B, T); see `TextVAE.decode`. A sentence cut off at `longest` has no END."""
        self.check_condition(condition)
        tokens = [torch.full((len(latents),), START, device=latents.device)]
        over = torch.zeros_like(tokens[0], dtype=torch.bool)
        state = self.decoder.first_state(latents, condition)
        while len(tokens) < longest and not over.all():
            features, state = self.decoder.read(tokens[-1].unsqueeze(1), latents, condition, state)
            following = _chosen(at_least_float32(self.decoder.output(features.squeeze(1))), generator)
            tokens.append(following.masked_fill(over, PAD))
            over = over | (following == END)
        return torch.stack(tokens, 1)


def _chosen(logits: Tensor, generator: torch.Generator | None) -> Tensor:
    logits[:, [PAD, START]] = -torch.inf  # no sentence continues with these
    if generator is None:
        return logits.argmax(1)
    return torch.multinomial(logits.softmax(1), 1, generator=generator).squeeze(1)


def build_lstm_vae(options: LSTMOptions, shape: Shape, gating: Gating | None) -> LSTMVAE:
    """Return the text VAE with these options for sentences of `shape`; `gating` None builds the plain one."""
    longest, vocabulary = shape
    authors = gating is not None and options.multi_rate_layers == "authors"
    return LSTMVAE(
        _encoder(options, vocabulary, gating.encoder if gating else None, authors=authors),
        _decoder(options, vocabulary, gating.decoder if gating else None, authors=authors),
        options.latent_units,
        longest,
        multi_rate=gating is not None,
    )


def _encoder(options: LSTMOptions, vocabulary: int, activation: str | None, *, authors: bool) -> LSTMEncoder:
    parts, summary = options.parts, options.summary_units
    hidden = (Dense((summary,)),) if authors and parts.hidden_heads else ()
    head = (*hidden, Dense((options.latent_units,), relu=False))
    between = nn.Linear(summary, summary) if authors and not parts.hidden_heads else nn.Identity()
    return LSTMEncoder(
        GatedEmbedding(vocabulary, options.embedding_units, activation, small=parts.small_words),
        nn.LSTM(options.embedding_units, options.hidden_units, bias=parts.lstm_biases, batch_first=True),
        _with_gate(between, summary, activation),
        mean=Stack(gated_layer(layer, (summary,), activation) for layer in head),
        log_variance=Stack(gated_layer(layer, (summary,), activation) for layer in head),
        states=parts.states,
    )


def _decoder(options: LSTMOptions, vocabulary: int, activation: str | None, *, authors: bool) -> LSTMDecoder:
    parts, latents, summary = options.parts, options.latent_units, options.summary_units
    return LSTMDecoder(
        GatedEmbedding(vocabulary, options.embedding_units, activation, small=parts.small_words),
        _with_gate(nn.Linear(latents, summary, bias=parts.linear_biases or authors), summary, activation),
        nn.LSTM(options.embedding_units + latents, options.hidden_units, bias=parts.lstm_biases, batch_first=True),
        nn.Linear(options.hidden_units, vocabulary, bias=parts.linear_biases),
        options.dropout,
        latents_dropped=authors and parts.latents_dropped,
    )


def _with_gate(linear: nn.Module, features: int, activation: str | None) -> GatedLayer:
    return GatedLayer(linear, norm=None, gate=Gate(features, activation) if activation else None, relu=False)
