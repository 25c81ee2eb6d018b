"""What the tests of this folder share: pictures of three kinds on 8 by 8 pixels."""

import pytest

from spearhead.models.gan.tiny import SHAPE, kinds
from spearhead.models.pictures import Pictures, Shape, pack


@pytest.fixture
def shape() -> Shape:
    """8 by 8 grey pixels, three classes."""
    return SHAPE


@pytest.fixture(scope="session")
def held() -> Pictures:
    """Two hundred pictures that no test trains on."""
    return pack(kinds(200, seed=1))
