"""The interface of every model, and the VAE with one Gaussian latent layer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from models.likelihoods import at_least_float32

if TYPE_CHECKING:
    from collections.abc import Sequence

    from models.likelihoods import Likelihood
    from models.shapes import Shape


PAD, START, END, UNKNOWN = range(4)
"""The special tokens: padding, start of a sentence, end of a sentence, and unknown word."""

CONDITION_AXES = 2
"""The axes of a condition: examples, and the β of one example."""


class Posterior(NamedTuple):
    """The diagonal Gaussian q(z|x) of one latent layer and a sample of it; each (B, *latent)."""

    mean: Tensor
    log_variance: Tensor
    sample: Tensor


class ModelOutput(NamedTuple):
    """A model's output for each example of a batch, at one sample of its latents.

    `distortion` (B,) is in the model's `distortion_unit`. `rates` (B, L) are in nats; they and `posteriors`
    have one entry for each latent layer. `reconstruction` (B, C, H, W), in [0, 1], is the mean of p(x|z); None for
    text, which has no mean and is decoded word by word (`TextVAE.decode`).
    """

    distortion: Tensor
    rates: Tensor
    posteriors: tuple[Posterior, ...]
    reconstruction: Tensor | None


class VAE(nn.Module, ABC):
    """A VAE with L latent layers. Its only input of β is the condition of a call, which it does not store.

    `condition` is the standardised log β of each example, (B, 1), or (B, C) for gates with C inputs; None for a plain
    model. `noise` has a standard normal tensor (B, *latent shape) for each latent layer.
    """

    latent_shapes: tuple[tuple[int, ...], ...]
    multi_rate: bool
    distortion_unit: str
    draws_on_its_own = False
    """Whether training draws from torch's global generator besides `noise`, as dropout does."""

    @abstractmethod
    def forward(self, x: Tensor, condition: Tensor | None, noise: Sequence[Tensor]) -> ModelOutput:
        """Return the output for x: images (B, C, H, W) in [0, 1], or for a `TextVAE` tokens (B, T).

        Raises:
            ValueError: a multi-rate model gets no condition, or a plain one gets one.
        """

    @abstractmethod
    def generate(self, noise: Sequence[Tensor], condition: Tensor | None) -> Tensor:
        """Return the mean images (B, C, H, W) in [0, 1] of latents drawn from the prior with this noise.

        A `TextVAE` returns tokens, by greedy decoding.

        Raises:
            ValueError: as `forward`.
        """

    def blank(self, examples: int, shape: Shape) -> Tensor:
        """Return blank examples of this shape for `forward`, to count its FLOPs."""
        return torch.zeros(examples, *shape)

    def check_condition(self, condition: Tensor | None) -> None:
        """Raise ValueError unless the condition has two axes in a multi-rate model, and is None in a plain one."""
        if self.multi_rate and condition is None:
            raise ValueError("a multi-rate model needs a condition: the standardised log β of each example, (B, 1)")
        if condition is not None and condition.dim() != CONDITION_AXES:
            raise ValueError(f"the condition has shape {tuple(condition.shape)}; it must be (examples, 1)")
        if not self.multi_rate and condition is not None:
            raise ValueError("a plain VAE takes no condition, because it has no gates")


class TextVAE(VAE):
    """A VAE of sentences. x (B, T) int64 are tokens: START, words, END, then PAD where a sentence is shorter.

    The distortion is the cross-entropy in nats, summed over the tokens after START, END included, PAD not.
    """

    @abstractmethod
    def decode(
        self, latents: Tensor, condition: Tensor | None, longest: int, generator: torch.Generator | None
    ) -> Tensor:
        """Return sentences (B, T), T at most `longest`, for latents (B, latent units), in the form of x.

        Each token is the most likely one after the tokens before it (greedy); with a generator it is drawn from p(x|z).
        """

    def blank(self, examples: int, shape: Shape) -> Tensor:
        """Return sentences of the longest length; see `VAE.blank`. A text's shape is (longest, vocabulary)."""
        return torch.full((examples, shape[0]), UNKNOWN)


def gaussian_rate(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Return KL(N(mean, exp(log_variance)) || N(0, I)) (B,) in nats, summed over all axes but the first."""
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

    def forward(self, x: Tensor, condition: Tensor | None, noise: Sequence[Tensor]) -> ModelOutput:
        """Return the output for x; see `VAE.forward`."""
        self.check_condition(condition)
        (latent_noise,) = noise
        mean, log_variance = map(at_least_float32, self.encoder(x, condition))
        posterior = Posterior(mean, log_variance, draw(mean, log_variance, latent_noise))
        logits = self.decoder(posterior.sample, condition)
        return ModelOutput(
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
