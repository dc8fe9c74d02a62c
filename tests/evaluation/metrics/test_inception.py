"""The network is torch-fidelity's own, with random weights: the published ones are not at hand where tests run."""

import hashlib
import io
import math
import pickle

import pytest
import torch
from torch_fidelity import FeatureExtractorInceptionV3

from evaluation.metrics.inception import PUBLISHED, Inception, WeightsError, fetch_inception, load_inception

CPU = torch.device("cpu")


class Untrained(FeatureExtractorInceptionV3):
    """The network with the weights that it is built with: it would load published ones."""

    def load_state_dict(self, state_dict):
        assert state_dict == {}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file of random weights under which features neither vanish nor explode."""
    nothing = io.BytesIO()
    torch.save({}, nothing)
    nothing.seek(0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = Untrained("inception", ["2048"], nothing)
        for parameter in network.parameters():
            if parameter.dim() == 4:
                torch.nn.init.kaiming_normal_(parameter)
    path = tmp_path_factory.mktemp("inception") / "weights.pth"
    torch.save(network.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def inception(weights):
    return load_inception(weights, CPU, digest="")


@pytest.fixture(scope="module")
def pictures():
    """Three images of 3×20×24, every pixel a whole number of 255ths."""
    pixels = torch.randint(0, 256, (3, 3, 20, 24), generator=torch.Generator().manual_seed(0))
    return pixels.to(torch.uint8)


def test_features_and_logits_are_those_of_torch_fidelity(inception, weights, pictures):
    """Its own network, which loads the file by itself and is given uint8 images, says the same."""
    theirs = FeatureExtractorInceptionV3("inception", ["2048", "logits_unbiased"], str(weights))
    features, logits = inception(pictures / 255)
    expected_features, expected_logits = theirs(pictures)
    assert torch.equal(features, expected_features)
    assert torch.equal(logits, expected_logits)
    assert (features.shape, logits.shape) == ((3, 2048), (3, 1008))
    assert features.std() > 1e-3
    assert not features.requires_grad


def test_grey_is_repeated_and_said_to_be(inception, pictures):
    grey = pictures[:1, :1] / 255
    assert torch.equal(inception(grey)[0], inception(grey.repeat(1, 3, 1, 1))[0])
    assert inception.preparation(1) == "uint8, grey-to-3-channels, tf1-bilinear-299"
    assert inception.preparation(3) == "uint8, tf1-bilinear-299"


def test_pixels_are_rounded_as_in_a_file(inception, pictures):
    images = pictures[:1] / 255
    assert torch.equal(inception(images)[0], inception(images + 0.4 / 255)[0])


def test_the_result_s_name_has_the_weights_digest(inception, weights):
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()[:8]
    assert inception.name == f"inception-v3-{digest}"


def test_only_the_published_weights_give_what_may_be_called_fid(inception):
    assert inception.kind == "other_inception"
    assert Inception(inception.network, PUBLISHED).kind == "inception"
    assert Inception(inception.network, PUBLISHED).name == "inception-v3-6726825d"


def test_other_weights_than_the_published_ones_are_refused(weights):
    with pytest.raises(WeightsError, match=r"not the weights of Inception \(sha256 .*…, not 6726825d…\)"):
        load_inception(weights, CPU)


def test_a_missing_file_says_what_to_do_and_fetches_nothing(tmp_path, monkeypatch):
    """Downloading unasked would be a surprise, and 96 MB."""

    def never(*_, **__):
        raise AssertionError("downloaded")

    monkeypatch.setattr(torch.hub, "download_url_to_file", never)
    monkeypatch.setattr("torch_fidelity.feature_extractor_inceptionv3.load_state_dict_from_url", never)
    path = tmp_path / "weights.pth"
    with pytest.raises(WeightsError, match=r"weights\.pth: .* cannot be read: No such file.*never downloaded unasked"):
        load_inception(path, CPU)


class Harmful:
    """Whoever unpickles it runs a function of its choice."""

    def __reduce__(self):
        return (pytest.fail, ("unpickled",))


@pytest.mark.parametrize("kind", ["text", "pickle", "torch pickle", "other weights", "no state dict"])
def test_a_file_that_holds_no_weights_is_refused_and_never_unpickled(tmp_path, kind):
    path = tmp_path / "weights.pth"
    if kind == "text":
        path.write_bytes(b"not weights")
    elif kind == "pickle":
        path.write_bytes(pickle.dumps(Harmful(), protocol=2))
    else:
        torch.save({"torch pickle": Harmful(), "other weights": {"w": torch.zeros(2)}, "no state dict": 3}[kind], path)
    with pytest.raises(WeightsError, match=r"weights\.pth: holds no weights of Inception"):
        load_inception(path, CPU, digest="")


def test_a_pixel_that_is_no_number_is_an_error(inception, pictures):
    """As uint8 it would be black, and a diverged model would only look dark."""
    images = pictures / 255
    images[1, 0, 0, 0] = math.nan
    with pytest.raises(ValueError, match=r"image 1 \(from 0\) of the batch has a pixel that is not finite"):
        inception(images)


@pytest.mark.parametrize("shape", [(2, 2, 8, 8), (3, 8, 8)])
def test_other_channels_than_one_or_three_are_refused(inception, shape):
    with pytest.raises(ValueError, match=r"Inception takes \(B, 1 or 3, H, W\)"):
        inception(torch.zeros(shape))


def test_weights_are_fetched_on_request(tmp_path):
    source = tmp_path / "source.pth"
    source.write_bytes(b"weights")
    path = tmp_path / "new" / "weights.pth"
    fetch_inception(path, source.as_uri(), hashlib.sha256(b"weights").hexdigest()[:8])
    assert path.read_bytes() == b"weights"


@pytest.mark.parametrize(("content", "cause"), [(b"a login page", "invalid hash value"), (None, "No such file")])
def test_a_download_that_fails_leaves_nothing(tmp_path, content, cause):
    source = tmp_path / "source.pth"
    if content is not None:
        source.write_bytes(content)
    path = tmp_path / "new" / "weights.pth"
    with pytest.raises(WeightsError, match=f"could not be fetched: .*{cause}.*put the file .* there yourself"):
        fetch_inception(path, source.as_uri())
    assert list(path.parent.iterdir()) == []
