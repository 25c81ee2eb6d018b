"""DiffAugment: small changes to all that the critic sees, real and made alike, differentiable. Knows no critic.

Zhao et al., arXiv 2006.10738. Draws come from torch's own generator, which the loop keeps over a restart.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor


def augment(pictures: Tensor, kinds: Sequence[str], *, share: float) -> Tensor:
    """(n, c, h, w), about -1 to 1, each picture changed by all `kinds` with probability `share`; gradients pass."""
    if not kinds or share <= 0:
        return pictures
    changed = pictures
    for kind in kinds:
        changed = KINDS[kind](changed)
    chosen = _draw(pictures) < share
    return torch.where(chosen, changed, pictures)


def colour(x: Tensor) -> Tensor:
    """Brightness by +-.5, saturation by a factor of 0 to 2, contrast by one of .5 to 1.5."""
    x = x + (_draw(x) - 0.5)
    grey = x.mean(1, keepdim=True)
    x = (x - grey) * (2 * _draw(x)) + grey
    middle = x.mean((1, 2, 3), keepdim=True)
    return (x - middle) * (_draw(x) + 0.5) + middle


def translation(x: Tensor) -> Tensor:
    """Moved by up to an eighth of the side each way; what comes in is 0."""
    n, _, h, w = x.shape
    down, right = _whole(n, h // 8, x), _whole(n, w // 8, x)
    rows = torch.arange(h, device=x.device)[None] - down  # (n, h), where each row comes from
    columns = torch.arange(w, device=x.device)[None] - right
    inside = ((rows >= 0) & (rows < h))[:, None, :, None] & ((columns >= 0) & (columns < w))[:, None, None, :]
    batch = torch.arange(n, device=x.device)[:, None, None]
    moved = x.permute(0, 2, 3, 1)[batch, rows.clamp(0, h - 1)[:, :, None], columns.clamp(0, w - 1)[:, None, :]]
    return moved.permute(0, 3, 1, 2) * inside


def cutout(x: Tensor) -> Tensor:
    """A square of half the side set to 0, its middle anywhere."""
    n, _, h, w = x.shape
    top = torch.randint(0, h, (n, 1), device=x.device) - h // 4
    left = torch.randint(0, w, (n, 1), device=x.device) - w // 4
    rows, columns = torch.arange(h, device=x.device)[None], torch.arange(w, device=x.device)[None]
    across = (rows >= top) & (rows < top + h // 2)
    along = (columns >= left) & (columns < left + w // 2)
    return x * ~(across[:, None, :, None] & along[:, None, None, :])


KINDS: Mapping[str, Callable[[Tensor], Tensor]] = {"colour": colour, "translation": translation, "cutout": cutout}


def _draw(x: Tensor) -> Tensor:
    """One number of 0 to 1 for each picture, (n, 1, 1, 1)."""
    return torch.rand(len(x), 1, 1, 1, device=x.device, dtype=x.dtype)


def _whole(n: int, most: int, x: Tensor) -> Tensor:
    return torch.randint(-most, most + 1, (n, 1), device=x.device)
