"""Pictures changed so that a classifier errs."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from spearhead.core.errors import InputError
from spearhead.metrics import attacks
from spearhead.metrics.attacks import Loss
from spearhead.metrics.classifier import Classifier

SIZE = 0.1
LABELS = torch.arange(8) % 4


def setting(*, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Loss, Classifier]:
    """Eight pictures, many of their pixels black or white, and the loss of an untrained classifier."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = Classifier(size=8, channels=1, classes=4).to(dtype).eval()
    pixels = (torch.rand(8, 1, 8, 8, generator=torch.Generator().manual_seed(1), dtype=dtype) * 2 - 0.5).clamp(0, 1)
    return pixels, lambda x: F.cross_entropy(network(x)[1], LABELS, reduction="sum"), network


@pytest.mark.parametrize("kind", ["fgsm", "pgd"])
def test_an_attack_stays_near_the_picture_and_raises_the_loss(kind: str) -> None:
    pixels, loss, network = setting()
    rng = torch.Generator().manual_seed(2)
    bent = (
        attacks.fgsm(pixels, loss, size=SIZE)
        if kind == "fgsm"
        else attacks.pgd(pixels, loss, size=SIZE, steps=10, rng=rng)
    )
    assert bent.min() >= 0 and bent.max() <= 1
    assert (bent - pixels).abs().max() <= SIZE + 1e-6
    assert loss(bent) > loss(pixels)
    assert not bent.requires_grad and all(p.grad is None for p in network.parameters())


def test_one_step_from_the_picture_itself_is_the_fast_method() -> None:
    pixels, loss, _ = setting()
    once = attacks.pgd(pixels, loss, size=SIZE, steps=1, stride=SIZE)
    assert torch.equal(once, attacks.fgsm(pixels, loss, size=SIZE))


def test_the_step_goes_where_finite_differences_say() -> None:
    pixels, loss, network = setting(dtype=torch.float64)
    pixels = 0.2 + 0.6 * pixels  # away from black and white, where a step is cut short
    slopes = torch.zeros(8, 64, dtype=torch.float64)
    for place in range(64):  # one pixel of all pictures at once: they do not see each other
        moved = torch.zeros_like(pixels)
        moved.view(8, -1)[:, place] = 1e-6
        with torch.no_grad():
            up, down = (F.cross_entropy(network(pixels + way * moved)[1], LABELS, reduction="none") for way in (1, -1))
        slopes[:, place] = (up - down) / 2e-6
    steps = ((attacks.fgsm(pixels, loss, size=0.01) - pixels) / 0.01).flatten(1)
    clear = slopes.abs() > 1e-6
    assert clear.float().mean() > 0.9
    torch.testing.assert_close(steps[clear], slopes.sign()[clear])


def test_against_a_linear_model_both_find_the_worst_picture() -> None:
    """Whose loss is known: softplus(size * |w|_1 - y (w x + b)) (arXiv 1412.6572, section 5)."""
    rng = torch.Generator().manual_seed(3)
    w, x = torch.randn(16, generator=rng), torch.rand(5, 1, 4, 4, generator=rng) * 0.6 + 0.2
    y = torch.tensor([1.0, -1, 1, 1, -1])

    def loss(pixels: Tensor) -> Tensor:
        return F.softplus(-y * (pixels.flatten(1) @ w + 0.5)).sum()

    worst = F.softplus(SIZE * w.abs().sum() - y * (x.flatten(1) @ w + 0.5)).sum()
    torch.testing.assert_close(loss(attacks.fgsm(x, loss, size=SIZE)), worst)
    torch.testing.assert_close(loss(attacks.pgd(x, loss, size=SIZE, steps=4, rng=rng)), worst)


def test_more_steps_find_worse_pictures_than_one() -> None:
    pixels, loss, _ = setting()
    one, many = attacks.fgsm(pixels, loss, size=0.3), attacks.pgd(pixels, loss, size=0.3, steps=20)
    assert loss(many) > loss(one)


def test_a_size_or_number_of_steps_that_makes_no_sense_is_refused() -> None:
    pixels, loss, _ = setting()
    for wrong in (-0.1, 8.0):
        with pytest.raises(InputError, match="wanted 0 to 1"):
            attacks.fgsm(pixels, loss, size=wrong)
    with pytest.raises(InputError, match="at least one step"):
        attacks.pgd(pixels, loss, size=SIZE, steps=0)
