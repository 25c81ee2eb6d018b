"""What the tests of this folder share: pictures of three kinds on 8 by 8 pixels, and one thread."""

from collections.abc import Iterator

import pytest
import torch

from spearhead.models.gan.tiny import SHAPE, kinds
from spearhead.models.pictures import Pictures, Shape, pack


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """Networks this small lose time on a second thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def shape() -> Shape:
    """8 by 8 grey pixels, three classes."""
    return SHAPE


@pytest.fixture(scope="session")
def held() -> Pictures:
    """Two hundred pictures that no test trains on."""
    return pack(kinds(200, seed=1))
