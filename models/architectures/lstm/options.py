"""The options of the LSTM text VAE. Imports no torch, because planning reads them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from typing_extensions import Doc

from models.architecture import Architecture, LatentUnits
from models.layers.tables import require_count
from models.options import check_choices

LayoutName = Literal["he", "texar"]


@dataclass(frozen=True)
class Layout:
    """The differences between the two published networks, besides their sizes.

    `states` is the number of LSTM states that encode a sentence and that z initialises in the decoder: 1 is the hidden
    state h in the encoder and the cell c in the decoder, with h = tanh(c); 2 is h and c in both. `linear_biases` are
    those of the map from z to the decoder's initial state and of the output layer. Word vectors are initialised from
    N(0, I), or from N(0, I / units) where they are `small_words`.

    The last two concern the authors' multi-rate network only: a hidden layer in each of the two heads, or else a linear
    layer before both; and whether the dropout of the decoder's words also applies to the z beside them.
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
class LSTMOptions(Architecture):
    """The text VAE of MR-VAE (Bae et al. 2022): an LSTM that encodes a sentence, and one that decodes it from z.

    z gives the initial state of the decoder's LSTM and is concatenated to each word vector that it reads.

    The multi-rate network has gates on the word vectors of encoder and decoder (the same for all words of a sentence),
    on the encoder's final state, on the mean and the log variance, and on the decoder's initial state. The LSTMs, the z
    beside the words and the output layer have none.
    """

    latent_units: LatentUnits = 32
    layout: Annotated[
        LayoutName,
        Doc("Connections as in He et al. (2019) and the authors' code (he), or as in Texar's example (texar)."),
    ] = "he"
    embedding_units: Annotated[int, Doc("Size of a word vector; the authors' is 512 for he, 256 for texar.")] = 512
    hidden_units: Annotated[int, Doc("Size of both LSTMs' states; the authors' is 1024 for he, 256 for texar.")] = 1024
    dropout: Annotated[float, Doc("Dropout in training on the decoder's word vectors and its LSTM's outputs.")] = 0.5
    multi_rate_layers: Annotated[
        Literal["gates-only", "authors"],
        Doc("Extra layers of the multi-rate network: none (gates-only), or those of the authors' code (authors)."),
    ] = "gates-only"

    def __post_init__(self) -> None:
        for option in ("latent_units", "embedding_units", "hidden_units"):
            require_count(option, getattr(self, option))
        check_choices(self)
        _require_share("dropout", self.dropout)
        object.__setattr__(self, "dropout", float(self.dropout))

    @property
    def parts(self) -> Layout:
        """The layout with the name of the option."""
        return LAYOUTS[self.layout]

    @property
    def summary_units(self) -> int:
        """The size of the encoder's final state, which is also that of the decoder's initial state."""
        return self.parts.states * self.hidden_units


def _require_share(option: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1:
        raise ValueError(f"{option} is {value!r}; it must be a number from 0 (none) to below 1")
