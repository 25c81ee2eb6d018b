"""Small changes to pictures."""

import torch

from spearhead.metrics import views


def test_nothing_to_change_leaves_a_picture_as_it_was() -> None:
    x = torch.rand(3, 1, 9, 9)
    torch.testing.assert_close(views.turned(x, degrees=0, stretch=0, slant=0), x, atol=1e-5, rtol=0)
    torch.testing.assert_close(views.relit(x, contrast=0, gamma=0), x)


def test_about_half_of_the_pictures_are_mirrored_and_the_rest_left() -> None:
    torch.manual_seed(0)
    x = torch.rand(200, 1, 4, 4)
    seen = views.mirrored(x)
    flipped = (seen == x.flip(3)).all((1, 2, 3))
    assert ((seen == x).all((1, 2, 3)) ^ flipped).all()
    assert 70 < flipped.sum() < 130


def test_a_line_is_turned_by_no_more_than_was_asked() -> None:
    torch.manual_seed(0)
    x = torch.zeros(100, 1, 41, 41)
    x[:, :, 20, 2:39] = 1
    seen = views.turned(x, degrees=20, stretch=0, slant=0)
    places = torch.arange(41.0) - 20
    mass = seen.sum((1, 2, 3))
    # Slope of the line that fits best: of what a bright pixel's height is to how far right it lies.
    slope = (seen[:, 0] * places[:, None] * places[None]).sum((1, 2)) / (seen[:, 0] * places[None] ** 2).sum((1, 2))
    angles = torch.rad2deg(slope.atan())
    assert angles.abs().max() < 21 and angles.max() > 12 and angles.min() < -12
    torch.testing.assert_close(mass, torch.full((100,), 37.0), atol=2.0, rtol=0)  # nothing is lost but by rounding


def test_stretching_makes_a_square_larger_or_smaller_by_its_bounds() -> None:
    torch.manual_seed(0)
    x = torch.zeros(200, 1, 32, 32)
    x[:, :, 8:24, 8:24] = 1
    areas = views.turned(x, degrees=0, stretch=0.2, slant=0).sum((1, 2, 3)) / 256
    assert 1 / 1.2**2 - 0.02 < areas.min() < 0.8 and 1.25 < areas.max() < 1.2**2 + 0.02


def test_light_changes_within_bounds_and_black_stays_black() -> None:
    torch.manual_seed(0)
    x = torch.tensor([0.0, 0.5, 1.0]).view(1, 1, 1, 3).repeat(300, 1, 1, 1)
    seen = views.relit(x, contrast=0.4, gamma=0.5)[:, 0, 0]
    assert (seen[:, 0] == 0).all()
    assert 0.6 <= seen[:, 2].min() < 0.65 and 0.95 < seen[:, 2].max() <= 1
    powers = (seen[:, 1] / seen[:, 2]).log() / torch.tensor(0.5).log()
    assert 1 / 1.5 - 1e-3 <= powers.min() < 0.75 and 1.4 < powers.max() <= 1.5 + 1e-3
