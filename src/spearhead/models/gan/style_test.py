"""The style maker does what its paper says: modulates, demodulates, truncates and mixes."""

import pytest
import torch
import torch.nn.functional as F

from spearhead.models.gan.style import Modulated, StyleMaker


def maker(*, classes: int = 3, depth: int = 1) -> StyleMaker:
    torch.manual_seed(0)
    return StyleMaker(
        noise=16, classes=classes, size=16, colours=1, width=16, depth=depth, mapping=2, mixing=0.5
    ).eval()


@pytest.mark.parametrize("demodulate", [True, False])
def test_modulation_is_that_of_weights_scaled_for_each_picture(demodulate: bool) -> None:
    torch.manual_seed(0)
    layer = Modulated(4, 6, 3, style=8, demodulate=demodulate)
    x, w = torch.randn(5, 4, 7, 7), torch.randn(5, 8)
    found = layer(x, w)
    for number in range(5):  # arXiv 1912.04958, equations 1 and 3, literally
        weights = layer.weight * layer.style(w)[number][None, :, None, None]
        if demodulate:
            weights = weights / (weights.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()
        assert torch.allclose(found[number], F.conv2d(x[number : number + 1], weights, padding=1)[0], atol=1e-5)


def test_truncation_narrows_to_the_mean_picture() -> None:
    made = maker()
    made.train()
    for _ in range(100):  # the mean style settles
        made.mapping(torch.randn(64, 16), torch.zeros(64, dtype=torch.long))
    made.eval()
    noise, label = torch.randn(64, 16), torch.zeros(64, dtype=torch.long)
    with torch.no_grad():
        spread = [float(made(psi * noise, label).std(0).mean()) for psi in (1.0, 0.5, 0.1)]
        mean = made.draw(made.mapping.mean[:1, None].expand(-1, made.layers, -1))
        assert torch.allclose(made(1e-4 * noise[:1], label[:1]), mean, atol=1e-2)
        w = [made.mapping(psi * noise, label) - made.mapping.mean[0] for psi in (1.0, 0.5)]
    assert spread[0] > 1.3 * spread[1] > 1.3 * 3 * spread[2] > 0
    assert torch.allclose(w[1], 0.5 * w[0], atol=1e-5), "shorter noise is truncation, exactly"


def test_style_mixing_takes_the_coarse_layers_of_one_and_the_fine_ones_of_the_other() -> None:
    made = maker(depth=2)
    a, b, label = torch.randn(4, 16), torch.randn(4, 16), torch.tensor([0, 1, 2, 0])
    with torch.no_grad():
        of_a, of_b = made(a, label), made(b, label)
        assert torch.equal(made.mixed(a, b, label, layer=torch.tensor([0] * 4)), of_b)
        assert torch.equal(made.mixed(a, b, label, layer=torch.tensor([made.layers] * 4)), of_a)
        between = made.mixed(a, b, label, layer=torch.tensor([2] * 4))
        assert not torch.allclose(between, of_a) and not torch.allclose(between, of_b)
        first = made.mapping(a, label)
        styles = torch.stack([first, first, *[made.mapping(b, label)] * (made.layers - 2)], 1)
        assert torch.equal(between, made.draw(styles))
        each = made.mixed(a, b, label, layer=torch.tensor([0, made.layers, 2, made.layers]))
        assert torch.equal(each, torch.stack([of_b[0], of_a[1], between[2], of_a[3]])), "every picture has its own"


def test_a_style_is_one_picture_and_learning_sees_fresh_noise() -> None:
    made = maker()
    for stage in made.stages:
        for layer in stage:  # type: ignore[attr-defined]
            torch.nn.init.ones_(layer.strength)
    noise, label = torch.randn(2, 16), torch.zeros(2, dtype=torch.long)
    made.mixing = 0.0
    with torch.no_grad():
        assert torch.equal(made(noise, label), made(noise, label))
        made.train()
        assert not torch.allclose(made(noise, label), made(noise, label), atol=1e-3)


def test_every_class_keeps_its_own_mean_style() -> None:
    made = maker().train()
    for _ in range(20):
        made(torch.randn(8, 16), torch.tensor([0, 0, 0, 0, 1, 1, 1, 1]))
    mean = made.mapping.mean
    assert float((mean[0] - mean[1]).abs().max()) > 0.01
    assert not mean[2].any(), "a class that was never seen has not moved"
