"""Who learns by what: Muon against PyTorch's own, shares of a model, and the average of weights worked by hand."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from spearhead.core.errors import InputError
from spearhead.nn.model import Model, Share
from spearhead.training import checkpoint, optimisers
from spearhead.training.batches import Batches, held_out
from spearhead.training.loop import train
from spearhead.training.optimisers import Muon, orthogonal
from spearhead.training.plan import Plan
from spearhead.training.sine import Point, Points, Sine, pack_points


def test_every_direction_of_an_orthogonal_update_is_about_one() -> None:
    x = torch.randn(3, 24, 40, generator=torch.Generator().manual_seed(0))
    for matrices in (x, x.mT):
        values = torch.linalg.svdvals(orthogonal(matrices))
        assert float(values.min()) > 0.6 and float(values.max()) < 1.3
    u, _, v = torch.linalg.svd(x, full_matrices=False)
    closeness = torch.linalg.svdvals(u.mT @ orthogonal(x) @ v.mT)
    assert float(closeness.min()) > 0.6, "the singular vectors are those of the matrix"


def test_muon_moves_as_pytorchs_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optimisers, "MOMENTUM", (0.95, 0.95, 1))  # theirs has no warm-up
    torch.manual_seed(0)
    ours = [nn.Parameter(torch.randn(shape)) for shape in ((12, 20), (12, 20), (30, 8))]
    theirs = [nn.Parameter(p.detach().clone()) for p in ours]
    one = Muon([{"params": ours, "lr": 0.05, "weight_decay": 0.1}])
    other = torch.optim.Muon(theirs, lr=0.05, weight_decay=0.1, momentum=0.95)
    before = [p.detach().clone() for p in ours]
    for _ in range(4):
        for a, b in zip(ours, theirs, strict=True):
            a.grad = torch.randn_like(a)
            b.grad = a.grad.clone()
        one.step()
        other.step()  # type: ignore[no-untyped-call]
    for a, b, was in zip(ours, theirs, before, strict=True):
        # PyTorch orthogonalises in bfloat16 (8 bits).
        assert (a - b).norm() < 0.03 * (b - was).norm()


class Shared(Model):
    """Four sets of parameters that ask for different things."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.inside = nn.Embedding(5, 4), nn.Linear(4, 4)
        self.kernel, self.head = nn.Conv2d(2, 6, 3), nn.Parameter(torch.zeros(3, 4))

    def shares(self) -> Mapping[str, Iterable[Share]]:
        rest = tuple(p for name, p in self.named_parameters() if not name.startswith("head"))
        head = Share((self.head,), rate=0.5, optimiser="adamw", betas=(0.0, 0.9), weight_decay=0.3)
        return {"loss": (Share(rest), head)}


def test_muon_takes_matrices_and_leaves_the_rest_to_adamw() -> None:
    model = Shared()
    plan = Plan(optimiser="muon", learning_rate=1e-3, muon_rate=0.03, weight_decay=0.1, betas=(0.8, 0.95))
    (made,) = optimisers.make(model, plan).values()
    optimisers.set_rates(made, 0.5)
    found = {
        id(p): (type(one).__name__, group["lr"], group["weight_decay"], group.get("betas"))
        for one in made
        for group in one.param_groups
        for p in group["params"]
    }
    names = {name: found[id(p)] for name, p in model.named_parameters()}
    assert names["inside.weight"] == names["kernel.weight"] == ("Muon", 0.015, 0.1, None)
    assert names["table.weight"] == ("AdamW", 0.0005, 0.1, (0.8, 0.95))
    assert names["inside.bias"] == ("AdamW", 0.0005, 0.0, (0.8, 0.95))
    assert names["head"] == ("AdamW", 0.00025, 0.3, (0.0, 0.9))


def test_shares_that_forget_a_parameter_are_refused() -> None:
    class Forgetful(Shared):
        def shares(self) -> Mapping[str, Iterable[Share]]:
            return {"loss": (Share((self.head,)),)}

    with pytest.raises(InputError, match="name each of the group's parameters once"):
        optimisers.make(Forgetful(), Plan())


class Walk(Model):
    """A number that goes down by one in every step of plain descent; its loss is the number itself."""

    def __init__(self) -> None:
        super().__init__()
        self.at = nn.Parameter(torch.zeros(()))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))
        self.seen: Tensor

    def losses(self, batch: Points) -> Iterator[tuple[str, Tensor]]:
        if self.training:
            self.seen += 1
        yield "loss", self.at


def averaged(plan: Plan) -> float:
    value = 0.0
    for step in range(plan.steps):
        decay = min(plan.average, (1 + step) / (10 + step))
        value = decay * value + (1 - decay) * -(step + 1)
    return value


def test_the_average_is_validated_shown_and_kept_while_training_goes_on_with_the_weights(points: list[Point]) -> None:
    plan = Plan(steps=40, batch=4, optimiser="sgd", betas=(0.0, 0.0), learning_rate=1.0, warmup=0.0, clip=0.0,
                schedule="constant", average=0.9, validate_every=20)  # fmt: skip
    model = Walk()
    for step in train(model, Batches(points, pack_points, plan=plan), plan, validation=[pack_points(points[:2])]):
        assert step.loss == -(step.number - 1), "the loss is that of the weights"
        if step.validation is not None:
            assert float(model.at.detach()) == step.validation, (
                "what was validated is in the model while the step is out"
            )
        else:
            assert float(model.at.detach()) == -step.number
    assert float(model.at.detach()) == step.validation == pytest.approx(averaged(plan), rel=1e-5)
    assert int(model.seen) == 40, "what counts is not averaged"
    alone = Walk()
    for _ in train(alone, Batches(points, pack_points, plan=plan), plan):
        pass
    assert torch.equal(alone.at, model.at), "without validation the last average is the result"


def test_a_closed_run_with_muon_and_an_average_goes_on_to_the_same_end(points: list[Point], tmp_path: Path) -> None:
    plan = Plan(steps=12, batch=16, optimiser="muon", average=0.8, save_every=100, validate_every=4)
    validation = held_out(points[:20], pack_points, plan=plan)
    ends = []
    for folder, stop in ((tmp_path / "calm", 99), (tmp_path / "closed", 4)):  # 4: while the average is in the model
        for turn in range(2 if stop < 99 else 1):
            model = Sine(noise=0.1)
            stream = train(model, Batches(points, pack_points, plan=plan), plan, validation=validation, folder=folder)
            for step in stream:
                if turn == 0 and step.number == stop:
                    stream.close()
                    break
        ends.append((checkpoint.snapshot(model), folder / "step-00000012"))
    (one, calm), (other, closed) = ends
    assert all(torch.equal(one[name], other[name]) for name in one)
    for name in ("weights", "average", "optimiser", "memory", "best"):
        assert (calm / f"{name}.safetensors").read_bytes() == (closed / f"{name}.safetensors").read_bytes(), name
    weights = load_file(calm / "weights.safetensors")
    assert not all(torch.equal(one[name], weights[name]) for name in one), "the average is not the weights"


@pytest.mark.parametrize("wrong", [{"average": 1.0}, {"average": -0.1}, {"muon_rate": 0.0}])
def test_an_average_that_never_moves_and_a_rate_that_is_none_are_refused(
    wrong: dict[str, float], points: list[Point]
) -> None:
    plan = Plan(steps=1, batch=4, **wrong)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="wanted an average from 0 to below 1 and a rate above 0"):
        next(train(Walk(), Batches(points, pack_points, plan=plan), plan))
