"""Training as the code that comes with papers has it: what `benchmarks.throughput` compares the product's step with.

A Dataset that makes one example at a time, from a PIL image by torchvision's transforms, behind a DataLoader; modules
of torch.nn, losses of torch.nn.functional on probabilities, Adam as it comes, losses read with `.item()` at each step.
Nothing here is the product's, on purpose. The layers are those of Bae et al. (2022).
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import torch
from PIL import Image
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np
    from numpy.typing import NDArray


class ImageDataset(Dataset[tuple[torch.Tensor, int]]):
    """Images (N, H, W) or (N, H, W, C) uint8, each made a tensor when it is asked for."""

    def __init__(self, pixels: NDArray[np.uint8], transform: Callable[[Image.Image], torch.Tensor]) -> None:
        self.pixels = pixels
        self.transform = transform

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        # With a label, as the published sets have one, though nobody reads it.
        return self.transform(Image.fromarray(self.pixels[index])), 0


BINARISED = transforms.Compose([transforms.ToTensor(), torch.bernoulli])
FLIPPED = transforms.Compose([transforms.RandomHorizontalFlip(), transforms.ToTensor()])


class ResidualBlock(nn.Module):
    """x + convolution(ReLU(convolution(x))), then a ReLU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.block = nn.Sequential(
            nn.Conv2d(channels, channels, 3, 1, 1), nn.ReLU(inplace=True), nn.Conv2d(channels, channels, 3, 1, 1)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the block's output, of the shape of its input."""
        return functional.relu(x + self.block(x), inplace=True)


class VAE(nn.Module):
    """A VAE with one Gaussian latent layer.

    `features` are the numbers that the encoder ends with, `first` is the shape that the decoder starts from.
    """

    def __init__(
        self, encoder: nn.Module, decoder: nn.Module, features: int, first: tuple[int, int, int], units: int = 32
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.mean = nn.Linear(features, units)
        self.log_variance = nn.Linear(features, units)
        channels, height, width = first
        self.project = nn.Sequential(nn.Linear(units, channels * height * width), nn.Unflatten(1, first))
        self.decoder = decoder

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the reconstruction, and mean and log variance of q(z|x)."""
        hidden = self.encoder(x)
        mean, log_variance = self.mean(hidden), self.log_variance(hidden)
        z = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
        return self.decoder(self.project(z)), mean, log_variance


def resnet_28() -> VAE:
    encoder = nn.Sequential(
        *(nn.Conv2d(1, 64, 4, 2, 1), nn.ReLU(inplace=True)),
        *(nn.Conv2d(64, 128, 4, 2, 1), nn.ReLU(inplace=True)),
        *(nn.Conv2d(128, 128, 3, 2, 1), nn.ReLU(inplace=True)),
        *(ResidualBlock(128), ResidualBlock(128), nn.Flatten()),
    )
    decoder = nn.Sequential(
        *(nn.ConvTranspose2d(128, 128, 3, 2, 1), nn.ReLU(inplace=True)),
        *(ResidualBlock(128), ResidualBlock(128)),
        *(nn.ConvTranspose2d(128, 64, 3, 2, 1, 1), nn.ReLU(inplace=True)),
        *(nn.ConvTranspose2d(64, 1, 3, 2, 1, 1), nn.Sigmoid()),
    )
    return VAE(encoder, decoder, 2048, (128, 4, 4))


def resnet_32() -> VAE:
    encoder = nn.Sequential(
        *(nn.Conv2d(3, 64, 4, 2, 1), nn.ReLU(inplace=True)),
        *(nn.Conv2d(64, 128, 4, 2, 1), nn.ReLU(inplace=True)),
        *(nn.Conv2d(128, 128, 3, 1, 1), nn.ReLU(inplace=True)),
        *(ResidualBlock(128), ResidualBlock(128), nn.Flatten()),
    )
    decoder = nn.Sequential(
        *(ResidualBlock(128), ResidualBlock(128)),
        *(nn.ConvTranspose2d(128, 64, 4, 2, 1), nn.ReLU(inplace=True)),
        *(nn.ConvTranspose2d(64, 3, 4, 2, 1), nn.Sigmoid()),
    )
    return VAE(encoder, decoder, 8192, (128, 8, 8), units=256)


def conv_28() -> VAE:
    encoder = nn.Sequential(
        *(nn.Conv2d(1, 128, 4, 2, 1), nn.BatchNorm2d(128), nn.ReLU(inplace=True)),
        *(nn.Conv2d(128, 256, 4, 2, 1), nn.BatchNorm2d(256), nn.ReLU(inplace=True)),
        *(nn.Conv2d(256, 512, 4, 2, 1), nn.BatchNorm2d(512), nn.ReLU(inplace=True)),
        *(nn.Conv2d(512, 1024, 4, 2, 1), nn.BatchNorm2d(1024), nn.ReLU(inplace=True), nn.Flatten()),
    )
    decoder = nn.Sequential(
        *(nn.ConvTranspose2d(1024, 512, 3, 2, 1), nn.BatchNorm2d(512), nn.ReLU(inplace=True)),
        *(nn.ConvTranspose2d(512, 256, 3, 2, 1, 1), nn.BatchNorm2d(256), nn.ReLU(inplace=True)),
        *(nn.ConvTranspose2d(256, 1, 3, 2, 1, 1), nn.Sigmoid()),
    )
    return VAE(encoder, decoder, 1024, (1024, 4, 4))


def mlp_28() -> VAE:
    encoder = nn.Sequential(
        nn.Flatten(), nn.Linear(784, 256), nn.ReLU(inplace=True), nn.Linear(256, 256), nn.ReLU(inplace=True)
    )
    decoder = nn.Sequential(
        *(nn.Flatten(), nn.ReLU(inplace=True), nn.Linear(256, 256), nn.ReLU(inplace=True)),
        *(nn.Linear(256, 784), nn.Sigmoid(), nn.Unflatten(1, (1, 28, 28))),
    )
    return VAE(encoder, decoder, 256, (256, 1, 1))


MODELS: dict[tuple[str, tuple[int, ...]], Callable[[], VAE]] = {
    ("mlp", (1, 28, 28)): mlp_28,
    ("resnet", (1, 28, 28)): resnet_28,
    ("conv", (1, 28, 28)): conv_28,
    ("resnet", (3, 32, 32)): resnet_32,
}
"""The models that have been written, by the product's name of the architecture and the shape of an image."""


def training(model: VAE, pixels: torch.Tensor, batch_size: int, workers: int, device: torch.device) -> Iterator[None]:
    """Train on pixels (N, C, H, W) uint8 without end, at β = 1, and yield after each step.

    Images of one channel are binarised and have a Bernoulli likelihood; those of three are flipped, in squared error.
    """
    grey = pixels.shape[1] == 1
    images = pixels[:, 0] if grey else pixels.permute(0, 2, 3, 1)
    dataset = ImageDataset(images.contiguous().numpy(), BINARISED if grey else FLIPPED)
    loader = DataLoader(
        dataset, batch_size, shuffle=True, num_workers=workers, drop_last=True, pin_memory=device.type == "cuda"
    )
    model.to(device).train()
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in itertools.count():
        total_loss, total_rate = 0.0, 0.0
        for batch, _label in loader:
            x = batch.to(device)
            optimiser.zero_grad()
            reconstruction, mean, log_variance = model(x)
            if grey:
                distortion = functional.binary_cross_entropy(reconstruction, x, reduction="sum")
            else:
                distortion = functional.mse_loss(reconstruction, x, reduction="sum")
            rate = -0.5 * torch.sum(1 + log_variance - mean.pow(2) - log_variance.exp())
            loss = (distortion + rate) / len(x)
            loss.backward()  # type: ignore[no-untyped-call]  # so it is in torch
            optimiser.step()
            total_loss += loss.item()
            total_rate += rate.item()
            yield
