"""The Inception network that FID, KID and Inception Score are named after, from torch-fidelity."""

from __future__ import annotations

import hashlib
import io
import pickle
from dataclasses import dataclass
from http.client import HTTPException
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

PUBLISHED = "6726825d"
"""The first digits of the sha256 of the published weights (Inception v3 of 2015-12-05), as their file names say."""
COLOURS = 3


class WeightsError(Exception):
    """The weights of the Inception network are missing or not the right ones; the message says how to get them."""


@dataclass(frozen=True, eq=False)
class Inception:
    """Images in [0, 1] to the 2,048 features of FID and KID and the 1,008 unbiased logits of the Inception Score.

    Pixels are rounded to uint8, as in an image file, and resized as the original network did it, by TensorFlow 1.
    `digest` is the beginning of the sha256 of the weights.
    """

    network: Any
    digest: str

    batch_size = 50
    test_accuracy = None

    @property
    def name(self) -> str:
        """What a result says it was computed with."""
        return f"inception-v3-{self.digest}"

    @property
    def kind(self) -> str:
        """Whether results may be called FID, KID and Inception Score: "inception", or else "other_inception"."""
        return "inception" if self.digest == PUBLISHED else "other_inception"

    def preparation(self, channels: int) -> str:
        """Return the preprocessing of images with this number of channels."""
        return "uint8, tf1-bilinear-299" if channels == COLOURS else "uint8, grey-to-3-channels, tf1-bilinear-299"

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return features (B, 2048) and logits (B, 1008), float32, of images (B, C, H, W) in [0, 1].

        Raises:
            ValueError: there are other than 1 or 3 channels, or a pixel is infinite or not a number.
        """
        if images.dim() != 4 or images.shape[1] not in (1, COLOURS):  # noqa: PLR2004 (B, C, H, W)
            raise ValueError(f"images have the shape {tuple(images.shape)}; Inception takes (B, 1 or 3, H, W)")
        broken = ~images.isfinite().flatten(1).all(1)
        if broken.any():
            # As uint8 it would be a black pixel, and nothing would be seen to be wrong.
            row = int(broken.int().argmax())
            raise ValueError(
                f"image {row} (from 0) of the batch has a pixel that is not finite; the model has diverged"
            )
        pixels = images.mul(255).round().clamp(0, 255).to(torch.uint8).expand(-1, COLOURS, -1, -1)
        with torch.no_grad():
            features, logits = self.network(pixels)
        return features, logits


def load_inception(path: Path, device: torch.device, digest: str = PUBLISHED) -> Inception:
    """Return the network with the weights of a file, on the device.

    `digest` is what the sha256 of the file must begin with; empty takes any. Nothing but tensors is unpickled.

    Raises:
        WeightsError: the file is missing, has another sha256, or holds no weights of this network.
    """
    from torch_fidelity import FeatureExtractorInceptionV3  # a second to import, for those who have the weights

    content = _read(path)
    found = hashlib.sha256(content).hexdigest()
    if not found.startswith(digest):
        raise WeightsError(
            f"{path}: these are not the weights of Inception (sha256 {found[:8]}…, not {digest}…); get them again"
        )
    try:
        weights = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        # The network unpickles whatever it is given: these are bytes that were written here.
        buffer = io.BytesIO()
        torch.save(weights, buffer)
        buffer.seek(0)
        network = FeatureExtractorInceptionV3("inception", ["2048", "logits_unbiased"], buffer)
    except (pickle.UnpicklingError, RuntimeError, EOFError, TypeError) as error:
        raise WeightsError(f"{path}: holds no weights of Inception: {error}") from error
    return Inception(network.to(device), found[: len(PUBLISHED)])


def fetch_inception(path: Path, url: str = "", digest: str = PUBLISHED) -> None:
    """Download the published weights (96 MB) to `path`, from where torch-fidelity has them or another `url`.

    Raises:
        WeightsError: nothing answers, or what arrives is something else; nothing is left then.
    """
    from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url or URL_INCEPTION_V3, str(path), hash_prefix=digest)
    except (OSError, RuntimeError, HTTPException) as error:
        raise WeightsError(
            f"the weights of Inception could not be fetched: {error}; check the network, or put the file whose name "
            f"ends in {digest}.pth there yourself: {path}"
        ) from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise WeightsError(
            f"{path}: the weights of Inception cannot be read: {error.strerror}. They are never downloaded unasked: "
            "fetch them, put the file there, or ask for frechet_classifier, which needs none"
        ) from error
