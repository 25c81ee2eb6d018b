"""What the tests of this folder share."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from spearhead.models.pretrained import tiny as tiny_model
from spearhead.models.pretrained.batch import Example
from spearhead.training.sine import Point


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """Models this small lose time on a second thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def points() -> list[Point]:
    """Two hundred points between -3 and 3."""
    return [Point(float(x)) for x in np.linspace(-3, 3, 200)]


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny llama."""
    return tiny_model.write(tmp_path_factory.mktemp("tiny") / "llama")


@pytest.fixture(scope="session")
def examples() -> list[Example]:
    """Forty random sequences of 6 to 30 tokens, three of them given."""
    rng = np.random.default_rng(0)
    return [Example(tuple(int(i) for i in rng.integers(3, 259, rng.integers(6, 31))), 3) for _ in range(40)]
