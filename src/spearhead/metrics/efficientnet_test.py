"""The network for published weights has their shape; its padding is TensorFlow's."""

import pytest
import torch

from spearhead.metrics.efficientnet import STAGES, Convolution, Lite0, load


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
