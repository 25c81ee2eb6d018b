"""The held-out distance is a Frechet distance, and sees what goes wrong in a GAN."""

import numpy as np
import pytest
import torch

from spearhead.models.gan import distance
from spearhead.models.gan.tiny import kinds
from spearhead.models.pictures import Pictures, pack


def test_the_distance_of_two_gaussians_is_the_closed_form() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(40_000, 2)) * [1.0, 3.0] + [0.0, 2.0], rng.normal(size=(40_000, 2)) * [2.0, 1.0]
    # diagonal covariances: |mean difference|^2 + sum of squared differences of the standard deviations
    found = float(distance.frechet(torch.from_numpy(a), torch.from_numpy(b)))
    assert found == pytest.approx(4 + 1 + 4, rel=0.03)


def test_the_distance_is_that_of_the_matrix_root() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(50, 6)) @ rng.normal(size=(6, 6)), rng.normal(size=(70, 6)) + 0.5
    left, right = np.cov(a, rowvar=False, bias=True), np.cov(b, rowvar=False, bias=True)
    roots = np.sqrt(np.linalg.eigvals(left @ right).astype(complex)).real.sum()  # trace of the root, without symmetry
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(left) + np.trace(right) - 2 * roots
    assert float(distance.frechet(torch.from_numpy(a), torch.from_numpy(b))) == pytest.approx(expected, rel=1e-9)


@pytest.fixture(scope="module")
def features() -> distance.Features:
    return distance.Features(1)


def far(features: distance.Features, held: Pictures, pixels: torch.Tensor, *, classes: int = 3) -> float:
    return float(distance.relative(features(held.pixels), features(pixels), held.labels, classes=classes))


def test_the_same_pictures_are_at_no_distance_and_the_mean_picture_at_one(
    features: distance.Features, held: Pictures
) -> None:
    assert far(features, held, held.pixels) == pytest.approx(0, abs=1e-6)
    mean = features(held.pixels).mean(0, keepdim=True).expand(len(held.labels), -1)
    found = distance.relative(features(held.pixels), mean, held.labels, classes=3)
    assert float(found) == pytest.approx(1, abs=1e-6)


def test_a_collapsed_maker_is_seen(features: distance.Features, held: Pictures) -> None:
    """Worse the fewer different pictures it draws, though each of them is a real one."""
    by_class = {label: held.pixels[held.labels == label] for label in range(3)}

    def drawn(variety: int) -> torch.Tensor:
        return torch.stack([by_class[int(k)][number % variety] for number, k in enumerate(held.labels)])

    fresh = pack([picture for picture in kinds(2000, seed=2)])
    twins = [int(torch.nonzero(fresh.labels == k)[number // 3]) for number, k in enumerate(held.labels)]
    healthy, few, one = (
        far(features, held, fresh.pixels[twins]),
        far(features, held, drawn(3)),
        far(features, held, drawn(1)),
    )
    assert 0 < healthy < 0.1 < few < one
    assert one > 4 * healthy


def test_a_maker_that_ignores_the_label_is_seen_though_its_pictures_are_right(
    features: distance.Features, held: Pictures
) -> None:
    shuffled = held.pixels[torch.randperm(len(held.labels), generator=torch.Generator().manual_seed(0))]
    assert far(features, held, shuffled, classes=0) == pytest.approx(0, abs=1e-5)
    assert far(features, held, shuffled) > 0.3


def test_the_filters_are_the_same_whatever_the_seed_and_are_not_saved() -> None:
    torch.manual_seed(1)
    first = distance.Features(3)
    torch.manual_seed(2)
    second = distance.Features(3)
    assert torch.equal(first.near, second.near) and torch.equal(first.far, second.far)
    assert not first.state_dict() and not list(first.parameters())


def test_one_picture_and_one_class_give_a_number(features: distance.Features) -> None:
    alone = pack(kinds(1, seed=0))
    assert np.isfinite(far(features, alone, torch.zeros(1, 1, 8, 8), classes=1))
