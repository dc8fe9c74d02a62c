from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from models.architecture import Architecture
from models.tables import describe_shape, require_count

if TYPE_CHECKING:
    from models.architecture import Gating, Shape
    from models.lstm_network import LSTMVAE

LayoutName = Literal["he", "texar"]
MultiRateLayers = Literal["gates-only", "authors"]

TEXT_AXES = 2
SHORTEST = 3
"""Tokens of a sentence of one word: START, the word, END."""
NO_WORDS = 4
"""Tokens that are no words: `models.vae` names them, which imports torch."""


@dataclass(frozen=True)
class Layout:
    """What tells the two published networks apart, besides their sizes.

    `states` are the LSTM's states that sum a sentence up, and that z starts the decoder with: 1 is the hidden state h
    for the first and the cell c for the second, with h = tanh(c); 2 is h and c for both. `linear_biases` are those of
    the map that starts the decoder and of the output layer. Word vectors start from N(0, I), or from N(0, I / units)
    where they are `small_words`.

    The last two are of the authors' multi-rate network only: a hidden layer in each of the two heads, or else a linear
    one before both; and whether the dropout of the decoder's words is of the z beside them too.
    """

    states: int
    lstm_biases: bool
    linear_biases: bool
    small_words: bool
    hidden_heads: bool
    latents_dropped: bool


LAYOUTS: dict[LayoutName, Layout] = {
    "he": Layout(
        states=1,
        lstm_biases=True,
        linear_biases=False,
        small_words=False,
        hidden_heads=False,
        latents_dropped=True,
    ),
    "texar": Layout(
        states=2,
        lstm_biases=False,
        linear_biases=True,
        small_words=True,
        hidden_heads=True,
        latents_dropped=False,
    ),
}


@dataclass(frozen=True)
class LSTM(Architecture):
    """The text VAE of MR-VAE (Bae et al. 2022): an LSTM that reads a sentence, and one that writes it given z.

    z starts the decoder's LSTM and stands beside each word vector that it reads. `layout` is how the parts are joined:
    he, after He et al. (2019), as MR-VAE's authors have it, or texar, after the library's example. `embedding_units`
    are the numbers of a word vector, and `hidden_units` those of a state of either LSTM; the authors' are 512 and 1024
    for he, 256 and 256 for texar. `dropout` is the share of the decoder's word vectors, and of what its LSTM gives the
    output layer, that is left out in training.

    In the multi-rate network there is a gate on the word vectors of either side, the same for all words of a sentence,
    on the state that sums the sentence up, on the mean and the log variance, and on the state that starts the decoder;
    the LSTMs, the z beside the words and the output layer have none. `multi_rate_layers` is what else it has: nothing
    more than the plain one (gates-only), or the layers and biases that the authors add (authors), so that it is larger.
    """

    latent_units: int = 32
    layout: LayoutName = "he"
    embedding_units: int = 512
    hidden_units: int = 1024
    dropout: float = 0.5
    multi_rate_layers: MultiRateLayers = "gates-only"

    name = "lstm"

    def __post_init__(self) -> None:
        for option in ("latent_units", "embedding_units", "hidden_units"):
            require_count(option, getattr(self, option))
        _require_choice("layout", self.layout, get_args(LayoutName))
        _require_choice("multi_rate_layers", self.multi_rate_layers, get_args(MultiRateLayers))
        _require_share("dropout", self.dropout)
        object.__setattr__(self, "dropout", float(self.dropout))

    @property
    def parts(self) -> Layout:
        """What the layout's name stands for."""
        return LAYOUTS[self.layout]

    @property
    def summary_units(self) -> int:
        """The numbers that sum a sentence up, and as many that z starts the decoder with."""
        return self.parts.states * self.hidden_units

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
            raise ValueError(f"architecture 'lstm' is of text: likelihood must be 'categorical', not {likelihood!r}")

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
        """Return the model; `gating` None builds the plain one. Raises ValueError unless it is of text."""
        from models.lstm_network import build_lstm_vae  # imports torch, which planning must not pay for

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
    # Four maps of the input and four of the hidden state, in torch each with a bias of its own.
    return 4 * units * (inputs + units + 2 * biases)


def _require_choice(option: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{option} is {value!r}; choose one of {', '.join(choices)}")


def _require_share(option: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1:
        raise ValueError(f"{option} is {value!r}; it must be a number from 0 (none) to below 1")
