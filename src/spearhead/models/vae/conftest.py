"""What the tests of this folder share."""

import pytest
import torch

from spearhead.models.pictures import Pictures, Shape


@pytest.fixture(scope="session")
def shape() -> Shape:
    """Grey pictures of 6x5 pixels in two classes."""
    return Shape(6, 5, 1, ("column", "row"))


@pytest.fixture(scope="session")
def lines(shape: Shape) -> Pictures:
    """Two hundred pictures of one light line, upright (class 0) or lying (class 1), on dark grey."""
    rng = torch.Generator().manual_seed(0)
    pixels = torch.full((200, 1, shape.height, shape.width), -0.9)
    labels = torch.arange(200) % 2
    for number, label in enumerate(labels.tolist()):
        at = int(torch.randint(shape.height if label else shape.width, (), generator=rng))
        (pixels[number, 0, at] if label else pixels[number, 0, :, at]).fill_(0.9)
    return Pictures(pixels, labels)
