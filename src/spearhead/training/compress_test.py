"""What makes a model smaller while it learns: gone is gone, nothing is remembered, no silent nothing."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from spearhead.core.errors import InputError
from spearhead.nn.model import Model
from spearhead.training import compress
from spearhead.training.loop import train
from spearhead.training.plan import Plan

PLAN = Plan(steps=50, batch=1, learning_rate=0.02, schedule="constant", warmup=0, validate_every=10, precision="fp32",
            save_every=0, clip=0, track=())  # fmt: skip


@dataclass(frozen=True)
class Points:
    """x (n, 64), y (n, 64) of a map that is to be learnt."""

    x: Tensor
    y: Tensor
    weight: int = 1
    examples: int = 1
    units: int = 1


class Map(Model):
    """64 numbers through 96 hidden ones to 64."""

    def __init__(self) -> None:
        super().__init__()
        rng = torch.Generator().manual_seed(0)
        self.table = nn.Parameter(torch.zeros(3, 64))
        self.up = nn.Parameter(torch.randn(96, 64, generator=rng) / 8)
        self.down = nn.Parameter(torch.randn(64, 96, generator=rng) / 10)

    def matrices(self) -> Iterator[nn.Parameter]:
        yield from (self.up, self.down)

    def units(self) -> Iterator[tuple[tuple[nn.Parameter, int], ...]]:
        yield (self.up, 0), (self.down, 1)

    def losses(self, batch: Points) -> Iterator[tuple[str, Tensor]]:
        made = torch.relu(batch.x @ self.up.T) @ self.down.T + self.table.sum(0)
        yield "loss", (made - batch.y).square().mean()


@dataclass(frozen=True)
class Endless:
    """A few batches, over and over."""

    given: Sequence[Points]
    digest: str = "points"

    def at(self, step: int) -> Sequence[Points]:
        return [self.given[step % len(self.given)]]


def points(seed: int) -> Points:
    rng = torch.Generator().manual_seed(seed)
    x = torch.randn(256, 64, generator=rng) * torch.logspace(-1.5, 0.5, 64)  # rounding knows nothing of what matters
    turn = torch.linalg.qr(torch.randn(64, 64, generator=torch.Generator().manual_seed(9)))[0]
    return Points(x, (x @ turn).relu())


def learn(plan: Plan, *, folder: Path | None = None, until: int = 0) -> tuple[Map, list[Any]]:
    model = Map()
    steps = []
    run = train(model, Endless([points(n) for n in range(4)]), plan, validation=[points(77)], folder=folder)
    for step in run:
        steps.append(step)
        if step.number == until:
            run.close()
            break
    return model, steps


def planned(**more: Any) -> Plan:
    return Plan(**{**{name: getattr(PLAN, name) for name in PLAN.__slots__}, **more})


@pytest.mark.parametrize("average", [0.0, 0.9])
def test_the_least_weights_are_zero_in_the_end(average: float) -> None:
    model, steps = learn(planned(prune=0.75, average=average))
    for matrix in model.matrices():
        assert float((matrix == 0).float().mean()) == pytest.approx(0.75, abs=1e-3)
    assert steps[-1].validation < steps[0].loss  # it still learnt


def test_units_go_whole_and_in_blocks() -> None:
    model, _ = learn(planned(prune=0.5, prune_what="units"))
    assert int((model.up != 0).any(1).sum()) == 64  # 48 would be half: whole blocks of 32 stay
    assert torch.equal((model.up == 0).all(1), (model.down == 0).all(0))


def test_weights_from_before_the_thinning_are_never_the_best_ones() -> None:
    _, steps = learn(planned(prune=0.9))
    thick = [step for step in steps if step.validation is not None and step.progress < compress.PRUNED]
    assert thick and not any(step.best for step in thick)


def test_a_run_that_was_broken_off_ends_with_the_same_bits(tmp_path: Path) -> None:
    plan = planned(prune=0.5, average=0.9)
    whole, _ = learn(plan, folder=tmp_path / "whole")
    learn(plan, folder=tmp_path / "cut", until=31)
    again, _ = learn(plan, folder=tmp_path / "cut")
    assert torch.equal(whole.up, again.up) and torch.equal(whole.down, again.down)


class Closed(Map):
    def matrices(self) -> Iterator[nn.Parameter]:
        yield from ()


@pytest.mark.parametrize(
    ("model", "plan", "said"),
    [
        (Closed(), planned(prune=0.5), "matrices learn"),
        (Map(), planned(prune=1.0), "from 0 to below 1"),
        (Map(), planned(prune=-0.1), "from 0 to below 1"),
    ],
)
def test_what_cannot_be_made_smaller_says_so(model: Map, plan: Plan, said: str) -> None:
    with pytest.raises(InputError, match=said):
        next(train(model, Endless([points(0)]), plan))
