"""What the tests of this folder share."""

import numpy as np
import pytest

from spearhead.training.sine import Point


@pytest.fixture(scope="session")
def points() -> list[Point]:
    """Two hundred points between -3 and 3."""
    return [Point(float(x)) for x in np.linspace(-3, 3, 200)]
