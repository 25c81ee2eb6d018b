"""Pictures of three kinds on 8 by 8 pixels, made from numbers: a square, a lying and a standing bar. For trying out."""

import numpy as np

from spearhead.models.pictures import Picture, Shape

SHAPE = Shape(8, 8, 1, ("square", "lying", "standing"))


def kinds(count: int, *, seed: int) -> list[Picture]:
    """That many, each kind as often as chance has it, somewhere in the picture."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        label, y, x = int(rng.integers(3)), int(rng.integers(1, 4)), int(rng.integers(1, 4))
        pixels = np.zeros((8, 8, 1), np.uint8)
        rows, columns = [(slice(y, y + 4), slice(x, x + 4)), (slice(y, y + 2), slice(8)), (slice(8), slice(x, x + 2))][
            label
        ]
        pixels[rows, columns] = 220
        made.append(Picture(pixels, label))
    return made
