"""What the tests of this folder share."""

import numpy as np
import pytest

from spearhead.models.pictures import Picture, Pictures, Shape, pack


@pytest.fixture(scope="session")
def shape() -> Shape:
    """Grey pictures of 8x8 pixels."""
    return Shape(8, 8, 1)


@pytest.fixture(scope="session")
def slopes() -> Pictures:
    """Two hundred and fifty-six soft slopes of any direction, steepness and brightness."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[-1:1:8j, -1:1:8j]
    out = []
    for _ in range(256):
        a, b, level = rng.normal(0, 70), rng.normal(0, 70), rng.uniform(30, 225)
        block = np.clip(level + a * rows + b * columns, 0, 255).round().astype(np.uint8)
        out.append(Picture(block[:, :, None]))
    return pack(out)
