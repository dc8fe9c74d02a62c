from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from models.architectures.lstm.options import LSTMOptions
from models.shapes import describe_shape

if TYPE_CHECKING:
    from models.architecture import Gating
    from models.architectures.lstm.network import LSTMVAE
    from models.shapes import Shape


TEXT_AXES = 2
SHORTEST = 3
"""Tokens of a sentence of one word: START, the word, END."""
NO_WORDS = 4
"""The number of special tokens; `models.vae` defines them, but imports torch."""


@dataclass(frozen=True)
class LSTM(LSTMOptions):
    """The text VAE of MR-VAE (Bae et al. 2022): an LSTM that encodes a sentence, and one that decodes it from z."""

    name = "lstm"

    def check_shape(self, shape: Shape) -> None:
        """Raise ValueError where the shape is not that of a text with at least one word."""
        if len(shape) != TEXT_AXES or shape[0] < SHORTEST or shape[1] <= NO_WORDS:
            raise ValueError(
                f"architecture 'lstm' takes text, (longest sentence) x (vocabulary): {SHORTEST} tokens or more, "
                f"its start and end included, of {NO_WORDS + 1} or more; not {describe_shape(shape)}"
            )

    def check_likelihood(self, likelihood: str) -> None:
        """Raise ValueError where the likelihood is not that of words."""
        if likelihood != "categorical":
            raise ValueError(f"architecture 'lstm' is for text: likelihood must be 'categorical', not {likelihood!r}")

    def parameters(self, shape: Shape, multi_rate: bool) -> int:
        """Return the number of trained parameters."""
        self.check_shape(shape)
        vocabulary, parts = shape[1], self.parts
        words, units, summary, latents = self.embedding_units, self.hidden_units, self.summary_units, self.latent_units
        plain = (
            2 * vocabulary * words
            + _lstm(words, units, parts.lstm_biases)
            + _lstm(words + latents, units, parts.lstm_biases)
            + 2 * _linear(summary, latents, biases=True)
            + _linear(latents, summary, parts.linear_biases)
            + _linear(units, vocabulary, parts.linear_biases)
        )
        gates = 2 * (2 * words + 2 * summary + 2 * latents)
        extra = self._parameters_of_the_authors() if self.multi_rate_layers == "authors" else 0
        return plain + (gates + extra if multi_rate else 0)

    def multiply_adds(self, shape: Shape) -> int:
        """Return the multiply-adds of the longest sentence's forward pass through the plain model."""
        self.check_shape(shape)
        longest, vocabulary = shape
        words, units, summary, latents = self.embedding_units, self.hidden_units, self.summary_units, self.latent_units
        encoder = longest * _lstm(words, units, biases=False) + 2 * summary * latents
        written = longest - 1  # the first token is given
        decoder = written * (_lstm(words + latents, units, biases=False) + units * vocabulary) + latents * summary
        return encoder + decoder

    def build(self, shape: Shape, likelihood: str, gating: Gating | None) -> LSTMVAE:
        """Return the model; `gating` None builds the plain one. Raises ValueError where it is not for text."""
        from models.architectures.lstm.network import build_lstm_vae  # imports torch, which planning must not pay for

        self.check_shape(shape)
        self.check_likelihood(likelihood)
        return build_lstm_vae(self, shape, gating)

    def _parameters_of_the_authors(self) -> int:
        summary = self.summary_units
        layer = _linear(summary, summary, biases=True)
        if self.parts.hidden_heads:
            return 2 * (layer + 2 * summary)  # each with a gate
        return layer + summary  # and the bias of the map that starts the decoder


def _linear(inputs: int, outputs: int, biases: bool) -> int:
    return outputs * (inputs + biases)


def _lstm(inputs: int, units: int, biases: bool) -> int:
    # Four maps of the input and four of the hidden state, each with a separate bias in torch.
    return 4 * units * (inputs + units + 2 * biases)
