"""The contract that every model obeys, and the VAE with one Gaussian latent layer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from models.likelihoods import at_least_float32

if TYPE_CHECKING:
    from collections.abc import Sequence

    from models.architecture import Shape
    from models.likelihoods import Likelihood


PAD, START, END, UNKNOWN = range(4)
"""Tokens that are no words: what fills a batch, what a sentence starts and ends with, and words that are not known."""

CONDITION_AXES = 2
"""Examples, and the β of one."""


class Posterior(NamedTuple):
    """The diagonal Gaussian q(z|x) of one latent layer and what was drawn from it; each (B, *latent)."""

    mean: Tensor
    log_variance: Tensor
    sample: Tensor


class Evidence(NamedTuple):
    """What a model says about a batch, example by example, at one draw of its latents.

    `distortion` (B,) is in the model's `distortion_unit`. `rates` (B, L) are in nats; they and `posteriors`
    have one entry for each latent layer. `reconstruction` (B, C, H, W), in [0, 1], is the mean of p(x|z); None for
    text, which has no mean and is decoded word by word (`TextVAE.decode`).
    """

    distortion: Tensor
    rates: Tensor
    posteriors: tuple[Posterior, ...]
    reconstruction: Tensor | None


class VAE(nn.Module, ABC):
    """A VAE with L latent layers. β reaches it only as the condition of a call; it is never kept.

    `condition` is the standardised log β of each example, (B, 1), or (B, C) where C of them reach the gates;
    None for a plain model. `noise` holds a standard normal tensor (B, *latent shape) for each latent layer.
    """

    latent_shapes: tuple[tuple[int, ...], ...]
    multi_rate: bool
    distortion_unit: str
    draws_on_its_own = False
    """Whether training draws from torch's global generator besides `noise`, as dropout does."""

    @abstractmethod
    def forward(self, x: Tensor, condition: Tensor | None, noise: Sequence[Tensor]) -> Evidence:
        """Return the evidence about x: images (B, C, H, W) in [0, 1], or for a `TextVAE` tokens (B, T).

        Raises:
            ValueError: a multi-rate model was given no condition, or a plain one was given one.
        """

    @abstractmethod
    def generate(self, noise: Sequence[Tensor], condition: Tensor | None) -> Tensor:
        """Return the mean images (B, C, H, W) in [0, 1] of latents drawn from the prior with this noise.

        A `TextVAE` returns tokens, by greedy decoding.

        Raises:
            ValueError: as `forward`.
        """

    def blank(self, examples: int, shape: Shape) -> Tensor:
        """Return examples of this shape with nothing on them, as `forward` takes them, to count its work with."""
        return torch.zeros(examples, *shape)

    def check_condition(self, condition: Tensor | None) -> None:
        """Raise ValueError unless there is a condition of two axes exactly where the model is multi-rate."""
        if self.multi_rate and condition is None:
            raise ValueError("a multi-rate model needs a condition: the standardised log β of each example, (B, 1)")
        if condition is not None and condition.dim() != CONDITION_AXES:
            raise ValueError(f"the condition has shape {tuple(condition.shape)}; it must be (examples, 1)")
        if not self.multi_rate and condition is not None:
            raise ValueError("a plain VAE takes no condition: it has no gates that β could reach")


class TextVAE(VAE):
    """A VAE of sentences. x (B, T) int64 are tokens: START, words, END, then PAD where a sentence is shorter.

    The distortion is the cross-entropy in nats, summed over the tokens after START, END included, PAD not.
    """

    @abstractmethod
    def decode(
        self, latents: Tensor, condition: Tensor | None, longest: int, generator: torch.Generator | None
    ) -> Tensor:
        """Return sentences (B, T), T at most `longest`, for latents (B, latent units), in the form of x.

        Each token is the likeliest after those before it (greedy); with a generator it is drawn from p(x|z).
        """

    def blank(self, examples: int, shape: Shape) -> Tensor:
        """Return sentences of the longest length, as `VAE.blank`; a text's shape is (longest, vocabulary)."""
        return torch.full((examples, shape[0]), UNKNOWN)


def gaussian_rate(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Return KL(N(mean, exp(log_variance)) || N(0, I)) (B,) in nats, summed over all but the batch."""
    each = mean.square() + log_variance.exp() - 1 - log_variance
    return 0.5 * each.flatten(1).sum(1)


def draw(mean: Tensor, log_variance: Tensor, noise: Tensor) -> Tensor:
    """Return the reparameterised sample mean + σ · noise (Kingma and Welling 2014)."""
    return mean + torch.exp(0.5 * log_variance) * noise


class SingleLatentVAE(VAE):
    """A VAE with one Gaussian latent layer and prior N(0, I).

    `encoder(x, condition)` gives mean and log variance (B, latent units); `decoder(z, condition)` gives the
    likelihood's logits (B, C, H, W). Rates are computed in float32 or more under autocast too.
    """

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        latent_units: int,
        likelihood: Likelihood,
        multi_rate: bool,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.likelihood = likelihood
        self.latent_shapes = ((latent_units,),)
        self.multi_rate = multi_rate
        self.distortion_unit = likelihood.unit

    def forward(self, x: Tensor, condition: Tensor | None, noise: Sequence[Tensor]) -> Evidence:
        """Return the evidence about x; see `VAE.forward`."""
        self.check_condition(condition)
        (latent_noise,) = noise
        mean, log_variance = map(at_least_float32, self.encoder(x, condition))
        posterior = Posterior(mean, log_variance, draw(mean, log_variance, latent_noise))
        logits = self.decoder(posterior.sample, condition)
        return Evidence(
            distortion=self.likelihood.distortion(logits, x),
            rates=gaussian_rate(mean, log_variance).unsqueeze(1),
            posteriors=(posterior,),
            reconstruction=self.likelihood.mean(logits),
        )

    def generate(self, noise: Sequence[Tensor], condition: Tensor | None) -> Tensor:
        """Return the mean images for latents drawn from the prior; see `VAE.generate`."""
        self.check_condition(condition)
        (latents,) = noise
        return self.likelihood.mean(self.decoder(latents, condition))
