"""From noise to a picture along a velocity field: Euler and Heun. Knows no network.

>>> import torch
>>> *_, (x, _) = solve(lambda x, t: x, torch.ones(1), steps=1000, solver="heun")  # dx/dt = x from 1: e at time 1
>>> round(float(x), 3)
2.718
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

Velocity = Callable[[Tensor, float], Tensor]
"""`velocity(x, t)`: dx/dt at `x` (n, ...) and the time t in [0, 1]."""


def solve(velocity: Velocity, noise: Tensor, *, steps: int, solver: str) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield (x, where x is heading) after each of `steps` equal steps from `noise` at time 0 to time 1.

    `heun` corrects each step by the velocity at its end (arXiv 2206.00364, algorithm 1), but the last one: there the
    end is a picture, where the field was hardly learnt. So it asks 2 * steps - 1 times, `euler` steps times.
    """
    x = noise
    for number in range(steps):
        time, after = number / steps, (number + 1) / steps
        slope = velocity(x, time)
        if solver == "heun" and number + 1 < steps:
            ahead = velocity(x + slope / steps, after)
            slope = (slope + ahead) / 2
        x = x + slope / steps
        yield x, x + slope * (1 - after)


Field = Callable[[Tensor, float, Tensor], Tensor]
"""`field(x, t, label)`: the velocity of pictures (n, ...) with their classes (n,)."""


def guided(field: Field, label: Tensor, *, none: int, guidance: float) -> Velocity:
    """The velocity of `label` led away from that of no class: v(none) + guidance * (v(label) - v(none)).

    arXiv 2207.12598, equation 6 with guidance = w + 1. At 1 no class is never asked.
    """
    if guidance == 1:
        return lambda x, time: field(x, time, label)
    labels = torch.cat([label, torch.full_like(label, none)])

    def led(x: Tensor, time: float) -> Tensor:
        toward, without = field(torch.cat([x, x]), time, labels).chunk(2)
        return without + guidance * (toward - without)

    return led
