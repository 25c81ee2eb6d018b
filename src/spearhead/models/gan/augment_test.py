"""What the critic sees is changed alike for real and made pictures, and gradients pass through the changes."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from spearhead.models.gan.augment import KINDS, augment, cutout, translation
from spearhead.models.gan.config import PRESETS
from spearhead.models.gan.network import build
from spearhead.models.pictures import Pictures, Shape


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_gradients_pass_and_are_the_changes_own(kind: str) -> None:
    def changed(pictures: Tensor) -> Tensor:
        torch.manual_seed(1)  # the same draw each time
        return KINDS[kind](pictures)

    pictures = torch.randn(1, 2, 8, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(changed, (pictures,))
    assert not torch.equal(changed(pictures), pictures)


def test_a_share_of_the_pictures_is_changed_and_none_without_kinds() -> None:
    pictures = torch.ones(2000, 1, 8, 8)
    assert augment(pictures, (), share=1.0) is pictures
    assert augment(pictures, ("cutout",), share=0.0) is pictures
    changed = (augment(pictures, ("cutout",), share=0.3) != 1).flatten(1).any(1).double().mean()
    assert 0.25 < float(changed) < 0.35


def test_translation_moves_and_fills_with_nothing() -> None:
    picture = torch.arange(1.0, 65.0).reshape(1, 1, 8, 8)
    shifts = set()
    for seed in range(60):
        torch.manual_seed(seed)
        moved = translation(picture)[0, 0]
        inside = [
            (int(value) - 1, row, column) for row in range(8) for column in range(8) if (value := moved[row, column])
        ]
        (shift,) = {(row - value // 8, column - value % 8) for value, row, column in inside}
        assert len(inside) == (8 - abs(shift[0])) * (8 - abs(shift[1]))
        shifts.add(shift)
    assert shifts == {(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1)}


def test_cutout_takes_a_square_of_half_the_side_at_most() -> None:
    gone = (cutout(torch.ones(500, 1, 8, 8)) == 0).sum((1, 2, 3))
    assert int(gone.max()) == 16 and int(gone.min()) >= 4


def test_real_and_made_pictures_are_changed_before_the_critic_in_both_turns(shape: Shape) -> None:
    config = replace(PRESETS["debug"], augment=("cutout",), augment_share=1.0)
    model = build(config, shape, steps=1, seed=0)
    model.progress = 1.0  # the end of the run, where every picture is changed
    seen: list[Tensor] = []
    model.critic.register_forward_pre_hook(lambda module, given: seen.append(given[0].detach().clone()))
    batch = Pictures(torch.ones(16, 1, 8, 8), torch.zeros(16, dtype=torch.long))
    turns = []
    for name, loss in model.losses(batch):
        loss.backward()  # type: ignore[no-untyped-call]
        turns.append((name, len(seen)))
        if name == "maker":
            assert all(parameter.grad is not None for parameter in model.maker.parameters())
    assert turns == [("critic", 2), ("maker", 4)]  # real and made; made and real
    for pictures in seen:
        assert bool((pictures == 0).flatten(1).any(1).all()), "each picture has lost a square"
