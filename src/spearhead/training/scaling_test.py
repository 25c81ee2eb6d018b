"""float16: gradients too small for it survive, those too large cost a step and no run, and restarts are exact."""

import math
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
import torch

from spearhead.nn.model import Model
from spearhead.training import checkpoint, scaling
from spearhead.training.batches import Batches
from spearhead.training.loop import Diverged, Step, train
from spearhead.training.plan import Plan
from spearhead.training.sine import Point, Points, pack_points


class Line(Model):
    """One matrix under a loss of any size."""

    def __init__(self, size: float) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.size = torch.nn.Linear(1, 64, bias=False), size
        self.seen: list[bool] = []
        """Whether the gradient that was left after each step was finite."""

    def matrices(self) -> Iterable[torch.nn.Parameter]:
        return list(self.layer.parameters())

    def losses(self, batch: Points) -> Iterator[tuple[str, torch.Tensor]]:
        yield "loss", (self.layer(batch.x).float() - torch.sin(batch.x)).square().mean() * self.size
        if self.layer.weight.grad is not None:
            self.seen.append(bool(self.layer.weight.grad.isfinite().all()))


def plan(precision: str = "fp16", **more: object) -> Plan:
    usual = {"steps": 1, "batch": 16, "optimiser": "sgd", "clip": 0.0, "schedule": "constant", "warmup": 0.0}
    return Plan(**{**usual, "precision": precision, "learning_rate": 1.0, **more})  # type: ignore[arg-type]


def moved(points: list[Point], how: Plan, *, size: float) -> torch.Tensor:
    """What the steps of a plan add to the matrix."""
    model = Line(size)
    before = model.layer.weight.detach().clone()
    for _ in train(model, Batches(points, pack_points, plan=how), how):
        pass
    return model.layer.weight.detach() - before


def test_a_gradient_too_small_for_float16_is_learnt_from(points: list[Point], monkeypatch: pytest.MonkeyPatch) -> None:
    size, rate = 1e-6, 1e4  # over 1,024 numbers: each gradient is about 1e-9, and float16's smallest number 6e-8
    wanted = moved(points, plan("fp32", learning_rate=rate), size=size)
    found = moved(points, plan(learning_rate=rate), size=size)
    assert (found - wanted).abs().max() < 0.02 * wanted.abs().max()
    monkeypatch.setattr(scaling, "FIRST", 1.0)
    assert not moved(points, plan(learning_rate=rate), size=size).any()


def test_an_overflow_costs_its_step_and_halves_the_scale(points: list[Point], tmp_path: Path) -> None:
    model, how = Line(1e3), plan(steps=40, learning_rate=1e-4)
    before = model.layer.weight.detach().clone()
    steps: list[Step] = []
    for step in train(model, Batches(points, pack_points, plan=how), how, folder=tmp_path):
        steps.append(step)
        if step.number == 1:
            assert torch.equal(model.layer.weight, before)  # 65,536 times this loss is more than float16 holds
    assert steps[-1].loss < 0.5 * steps[0].loss
    assert len(model.seen) == 40 and all(model.seen)
    kept = checkpoint.read(tmp_path)
    assert kept is not None
    assert kept.scale.factor == scaling.FIRST / 2 ** sum(not math.isfinite(step.norm) for step in steps) > 1


def test_what_no_scale_mends_is_a_divergence(points: list[Point]) -> None:
    how = plan(steps=100)
    with pytest.raises(Diverged, match="diverged at step 25: loss is inf"):  # 16 + 8 halvings
        for _ in train(Line(float("inf")), Batches(points, pack_points, plan=how), how):
            pass


def test_a_run_in_float16_goes_on_bit_for_bit_after_an_overflow(points: list[Point], tmp_path: Path) -> None:
    how = plan(steps=12, learning_rate=1e-4)
    whole = Line(1e3)
    for _ in train(whole, Batches(points, pack_points, plan=how), how):
        pass
    for ended in (4, 12):  # the first is broken off among the overflows
        model = Line(1e3)
        run = train(model, Batches(points, pack_points, plan=how), how, folder=tmp_path)
        for step in run:
            if step.number == ended:
                run.close()
                break
    assert torch.equal(model.layer.weight, whole.layer.weight)


def test_the_factor_grows_again_after_long_peace() -> None:
    scale = scaling.after(scaling.begin(torch.float16), overflowed=True)
    for _ in range(scaling.PATIENCE):
        scale = scaling.after(scale, overflowed=False)
    assert scale == scaling.Scale(scaling.FIRST)
    assert scaling.begin(torch.bfloat16) == scaling.Scale(1.0)
