"""What the loop promises: exact accumulation, best weights kept, no step half done."""

import dataclasses
import itertools
import os
import random
import resource
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from spearhead.core.errors import InputError
from spearhead.models.pretrained.batch import Example, Sequences, pack
from spearhead.models.pretrained.build import build
from spearhead.models.pretrained.config import Base, Config
from spearhead.nn.model import Model
from spearhead.training import checkpoint
from spearhead.training.batches import Batches, held_out
from spearhead.training.loop import Diverged, Step, Trained, train
from spearhead.training.plan import Plan
from spearhead.training.sine import Point, Points, Sine, pack_points


def run(model: Model, points: list[Point], plan: Plan, **more: object) -> tuple[list[Step], Trained]:
    stream = train(model, Batches(points, pack_points, plan=plan), plan, **more)  # type: ignore[arg-type]
    steps = []
    while True:
        try:
            steps.append(next(stream))
        except StopIteration as end:
            return steps, end.value


@pytest.fixture
def ticking(monkeypatch: pytest.MonkeyPatch) -> Callable[[Iterator[float]], None]:
    """The loop's clock goes on by the next of these seconds each time that it is looked at: so long takes a step."""

    def begin(seconds: Iterator[float]) -> None:
        moments = itertools.accumulate(seconds)
        clock = SimpleNamespace(perf_counter=lambda: next(moments))
        monkeypatch.setattr("spearhead.training.loop.time", clock)

    return begin


def weights(model: Model) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}


def test_a_network_learns(points: list[Point]) -> None:
    model = Sine()
    steps, trained = run(model, points, Plan(steps=300, batch=32, learning_rate=2e-2))
    assert steps[-1].loss < 0.01 < steps[0].loss
    assert (trained.steps, trained.ended, steps[-1].progress) == (300, "steps", 1.0)
    assert trained.units == 300 * 32 == sum(step.units for step in steps)


def test_a_crash_costs_a_slow_run_no_more_than_the_time_between_two_checkpoints(
    points: list[Point], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spearhead.training.loop.MOST_LOST", 0.0)
    monkeypatch.setattr("spearhead.training.loop.SAVING", float("inf"))
    slow = Plan(steps=6, batch=8, save_every=100)
    steps, _ = run(Sine(), points, slow, folder=tmp_path / "slow")
    assert [step.saved for step in steps] == [True] * 6
    steps, _ = run(Sine(), points, dataclasses.replace(slow, save_every=0), folder=tmp_path / "never")
    assert [step.saved for step in steps] == [False] * 5 + [True]
    monkeypatch.setattr("spearhead.training.loop.SAVING", 1e-9)  # where saving is dear, it is not done again for long
    steps, _ = run(Sine(), points, slow, folder=tmp_path / "dear")
    assert [step.saved for step in steps] == [True] + [False] * 4 + [True]


def test_when_a_run_is_saved_by_the_clock_and_where_it_died_change_no_weight(
    points: list[Point], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = Plan(steps=12, batch=8, save_every=100, average=0.9, validate_every=4)
    held = held_out(points[:40], pack_points, plan=plan)
    torch.manual_seed(1)
    plain, saved, again = Sine(), Sine(), Sine()
    for model in (saved, again):
        model.load_state_dict(plain.state_dict())
    run(plain, points, plan, validation=held)
    monkeypatch.setattr("spearhead.training.loop.MOST_LOST", 0.0)
    monkeypatch.setattr("spearhead.training.loop.SAVING", float("inf"))
    stream = train(saved, Batches(points, pack_points, plan=plan), plan, validation=held, folder=tmp_path / "run")
    for step in stream:
        if step.number == 7:  # no rhythm of the plan: only the clock has saved it
            shutil.copytree(tmp_path / "run", tmp_path / "died")
    monkeypatch.setattr("spearhead.training.loop.MOST_LOST", 1e9)
    steps, _ = run(again, points, plan, validation=held, folder=tmp_path / "died")
    assert steps[0].number == 8
    for model in (saved, again):
        for name, weight in weights(plain).items():
            assert torch.equal(weight, weights(model)[name]), name


@pytest.mark.parametrize("fast", [True, False])
def test_accumulated_gradients_are_those_of_the_large_batch(fast: bool, tiny: Path, examples: list[Example]) -> None:
    seen: dict[int, tuple[dict[str, Tensor], float]] = {}

    for micro in (0, 3):
        model = build(Config(base=Base("CC0-1.0", ""), rank=4), tiny, steps=5, seed=0)
        model.fast = fast
        with torch.no_grad():
            torch.manual_seed(1)
            for p in model.parameters():
                if p.requires_grad:
                    p.normal_(0, 0.1)
        plan = Plan(steps=1, batch=16, micro_batch=micro, optimiser="sgd", learning_rate=1.0, clip=0.0, warmup=0.0,
                    schedule="constant", precision="fp32")  # fmt: skip
        before = weights(model)
        batches = Batches(examples, pack, plan=plan)
        assert len(batches.at(0)) == (6 if micro else 1)
        (step,) = train(model, batches, plan)
        seen[micro] = ({n: before[n] - p for n, p in weights(model).items()}, step.loss)
    whole, parts = seen[0], seen[3]
    assert parts[1] == pytest.approx(whole[1], rel=1e-6)
    for name, gradient in whole[0].items():
        assert (parts[0][name] - gradient).abs().max() <= 1e-5 * gradient.abs().max() + 1e-7, name


def test_a_gradient_is_clipped_to_its_length(points: list[Point]) -> None:
    model = Sine()
    before = weights(model)
    plan = Plan(steps=1, batch=16, optimiser="sgd", betas=(0.0, 0.0), learning_rate=1.0, clip=0.1, warmup=0.0,
                schedule="constant")  # fmt: skip
    steps, _ = run(model, points, plan)
    moved = torch.cat([(p - before[n]).flatten() for n, p in weights(model).items()])
    assert steps[0].norm > 0.1
    assert float(moved.norm()) == pytest.approx(0.1, rel=1e-4)


def test_a_loss_that_is_no_number_stops_the_run_with_the_best_weights(points: list[Point], tmp_path: Path) -> None:
    plan = Plan(steps=50, batch=16, learning_rate=1e-2, validate_every=5, save_every=5)
    validation = held_out(points[:50], pack_points, plan=plan)
    good = Sine()
    run(good, points, plan, validation=validation)
    model = Sine(poison_at=23)
    best: dict[str, Tensor] = {}
    stream = train(model, Batches(points, pack_points, plan=plan), plan, validation=validation, folder=tmp_path)
    with pytest.raises(Diverged, match=r"diverged at step 23.*nan.*Lower training.learning_rate"):
        for step in stream:
            if step.best:
                best = weights(model)
    assert best and all(torch.equal(best[name], p) for name, p in weights(model).items())
    kept = checkpoint.read(tmp_path)
    assert kept is not None and (kept.step, kept.ended) == (22, "diverged")
    again = Sine()
    steps, trained = run(again, points, plan, validation=validation, folder=tmp_path)
    assert steps == [] and (trained.ended, trained.best_step) == ("diverged", 20)
    assert all(torch.equal(best[name], p) for name, p in weights(again).items()), "and they are there for a release"


class Exploding(Sine):
    """From a step on its loss is so many times as large, for as long as is said."""

    def __init__(self, *, at: int, steps: int, times: float) -> None:
        super().__init__()
        self.at, self.steps, self.times = at, steps, times

    def losses(self, batch: Points) -> Iterator[tuple[str, Tensor]]:
        for name, loss in super().losses(batch):
            yield name, loss * (self.times if self.training and 0 <= self.calls - self.at < self.steps else 1.0)


def test_a_loss_that_explodes_and_stays_a_number_stops_the_run_with_the_best_weights(
    points: list[Point], tmp_path: Path
) -> None:
    plan = Plan(steps=90, batch=16, learning_rate=1e-3, validate_every=5, save_every=5)
    validation = held_out(points[:50], pack_points, plan=plan)

    def seen(*, steps: int, times: float, plan: Plan = plan, folder: Path | None = None) -> Trained:
        return run(Exploding(at=41, steps=steps, times=times), points, plan, validation=validation, folder=folder)[1]

    with pytest.raises(
        Diverged, match=r"step 65: loss is .* after 25 steps far above .*explosion = 10.*kept in .*Lower"
    ):
        seen(steps=50, times=1000.0, folder=tmp_path)
    kept = checkpoint.read(tmp_path)
    assert kept is not None and kept.ended == "diverged"
    assert seen(steps=50, times=1000.0, folder=tmp_path).best_step == kept.best_step > 0
    assert seen(steps=24, times=1000.0).ended == "steps", "a few bad batches are no explosion"
    assert seen(steps=50, times=2.0).ended == "steps", "nor is a loss that has merely risen"
    assert seen(steps=50, times=1000.0, plan=dataclasses.replace(plan, explosion=0.0)).ended == "steps"


def test_a_run_that_diverges_before_anything_was_validated_says_that_nothing_is_kept(
    points: list[Point], tmp_path: Path
) -> None:
    plan = Plan(steps=50, batch=16, save_every=2)
    with pytest.raises(Diverged, match=r"step 6: .*No weights were validated before\. Lower"):
        run(Sine(poison_at=6), points, plan, folder=tmp_path)
    kept = checkpoint.read(tmp_path)
    assert kept is not None and (kept.step, kept.ended) == (4, "")


def test_early_stop_keeps_the_best_weights(points: list[Point]) -> None:
    plan = Plan(steps=400, batch=16, learning_rate=0.5, clip=0.0, schedule="constant", validate_every=2, patience=4,
                precision="fp32")  # fmt: skip
    validation = held_out(points, pack_points, plan=plan)
    model = Sine()
    steps, trained = run(model, points, plan, validation=validation)
    losses = {step.number: step.validation for step in steps if step.validation is not None}
    assert trained.ended == "patience" and trained.steps < 400
    assert trained.best_loss == min(loss for loss in losses.values() if loss is not None)
    assert losses[trained.best_step] == trained.best_loss
    assert trained.steps == trained.best_step + 2 * 4
    model.eval()
    with torch.no_grad():
        assert float(next(model.losses(validation[0]))[1]) == pytest.approx(trained.best_loss, rel=1e-6)


def test_a_time_budget_ends_the_run_and_its_schedule(
    points: list[Point], ticking: Callable[[Iterator[float]], None]
) -> None:
    chance = random.Random(0)
    ticking(0.03 if chance.random() < 0.05 else 0.001 for _ in itertools.count())  # now and then a step is kept waiting
    plan = Plan(steps=10**6, minutes=0.4 / 60, batch=8, schedule="wsd", warmup=0.1, decay=0.4)
    steps, trained = run(Sine(), points, plan)
    budget = plan.minutes * 60
    assert trained.ended == "minutes"
    assert 0.5 * budget < trained.seconds < budget + steps[-1].seconds, "no step began after the end"
    began = [(step.elapsed - step.seconds) / budget for step in steps]
    top = plan.learning_rate
    # However long this machine kept a step waiting, its rate is that of its place in the budget.
    assert all(step.rate <= 0.26 * top for step, at in zip(steps, began, strict=True) if at > 0.9)
    assert steps[0].rate < 0.2 * top and all(step.rate <= top for step in steps)
    assert max(step.rate for step in steps) == top and max(step.seconds for step in steps) > 0.02


def test_a_time_budget_ends_a_run_with_its_best_weights_and_not_its_last(
    points: list[Point], ticking: Callable[[Iterator[float]], None]
) -> None:
    plan = Plan(steps=10**6, minutes=0.05 / 60, batch=16, learning_rate=0.5, clip=0.0, schedule="constant",
                validate_every=2, precision="fp32")  # fmt: skip
    validation = held_out(points, pack_points, plan=plan)
    ticking(itertools.repeat(0.001))
    model = Sine()
    best: dict[str, Tensor] = {}
    judged: dict[int, float] = {}
    stream = train(model, Batches(points, pack_points, plan=plan), plan, validation=validation)
    while True:
        try:
            step = next(stream)
        except StopIteration as end:
            trained: Trained = end.value
            break
        last = weights(model)
        if step.validation is not None:
            judged[step.number] = step.validation
        if step.best:
            best = last
    assert trained.ended == "minutes" and trained.steps in judged
    assert 0 < trained.best_step < trained.steps and judged[trained.steps] > judged[trained.best_step]
    assert judged[trained.best_step] == trained.best_loss == min(judged.values())
    assert all(torch.equal(p, best[name]) for name, p in weights(model).items())
    assert any(not torch.equal(p, last[name]) for name, p in weights(model).items())
    model.eval()
    with torch.no_grad():
        assert float(next(model.losses(validation[0]))[1]) == pytest.approx(trained.best_loss, rel=1e-6)


def test_a_models_own_schedule_goes_by_the_time_budget_too(
    points: list[Point], ticking: Callable[[Iterator[float]], None]
) -> None:
    class Told(Sine):
        """Notes the progress that it is told before each step."""

        def __init__(self) -> None:
            super().__init__()
            self.told: list[float] = []

        def losses(self, batch: Points) -> Iterator[tuple[str, Tensor]]:
            if self.training:
                self.told.append(self.progress)
            yield from super().losses(batch)

    model = Told()
    run(model, points, Plan(steps=4, batch=8))
    assert model.told == [0.125, 0.375, 0.625, 0.875], "the middle of each step, as its learning rate"
    hurried = Told()
    ticking(itertools.repeat(0.001))
    run(hurried, points, Plan(steps=10**6, minutes=0.2 / 60, batch=8))
    assert len(hurried.told) == pytest.approx(200, abs=1) and hurried.told[0] < 0.01 < 0.99 < hurried.told[-1] <= 1.0


def test_a_closed_run_goes_on_to_the_same_end(points: list[Point], tmp_path: Path) -> None:
    plan = Plan(steps=12, batch=16, save_every=100, validate_every=4)
    validation = held_out(points[:20], pack_points, plan=plan)
    whole, _ = run(Sine(noise=0.1), points, plan, validation=validation), None
    reference = Sine(noise=0.1)
    run(reference, points, plan, validation=validation)
    first = Sine(noise=0.1)
    stream = train(first, Batches(points, pack_points, plan=plan), plan, validation=validation, folder=tmp_path)
    for _ in range(7):
        next(stream)
    stream.close()
    second = Sine(noise=0.1)
    steps, trained = run(second, points, plan, validation=validation, folder=tmp_path)
    assert [step.number for step in steps] == [8, 9, 10, 11, 12]
    assert [step.loss for step in steps] == [step.loss for step in whole[0][7:]]
    assert all(torch.equal(p, weights(reference)[name]) for name, p in weights(second).items())
    steps, again = run(Sine(noise=0.1), points, plan, validation=validation, folder=tmp_path)
    assert steps == [] and again == trained, "a run that has ended does nothing more"


def test_a_full_disk_is_said_and_the_run_goes_on_from_the_checkpoint_before(
    points: list[Point], tmp_path: Path
) -> None:
    plan = Plan(steps=6, batch=16, save_every=2, validate_every=100)
    calm, _ = run(Sine(noise=0.1), points, plan)
    stream = train(Sine(noise=0.1), Batches(points, pack_points, plan=plan), plan, folder=tmp_path)
    for _ in range(3):
        next(stream)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))  # writing fails as on a full disk
    try:
        with pytest.raises(OSError, match="File too large.*step-00000004"):
            next(stream)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["step-00000002"]
    steps, _ = run(Sine(noise=0.1), points, plan, folder=tmp_path)
    assert [(step.number, step.loss) for step in steps] == [(step.number, step.loss) for step in calm[2:]]


class Laid(Model):
    """Weights that lie in memory channels last, as convolutions are quickest."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(3)
            self.net = nn.Sequential(nn.Conv2d(2, 4, 3), nn.Tanh(), nn.Conv2d(4, 1, 3))
        for layer in (self.net[0], self.net[2]):
            assert isinstance(layer, nn.Conv2d)
            layer.weight.data = layer.weight.data.contiguous(memory_format=torch.channels_last)

    def losses(self, batch: Points) -> Iterator[tuple[str, Tensor]]:
        grid = torch.linspace(-1, 1, 5)
        x = (batch.x.view(-1, 1, 1, 1) * grid).unsqueeze(-1).expand(-1, 2, 1, 5, 5)[:, :, 0]
        found: Tensor = self.net(x)
        yield "loss", (found.view(-1, 1) - torch.sin(batch.x)).square().mean()


@pytest.mark.parametrize("optimiser", ["adamw", "muon", "sgd"])
def test_a_restart_is_exact_however_the_weights_lie_in_memory(
    optimiser: str, points: list[Point], tmp_path: Path
) -> None:
    plan = Plan(steps=10, batch=16, save_every=5, optimiser=optimiser, average=0.9)  # type: ignore[arg-type]
    reference = Laid()
    run(reference, points, plan)
    stream = train(Laid(), Batches(points, pack_points, plan=plan), plan, folder=tmp_path)
    for _ in range(5):
        next(stream)
    stream.close()
    second = Laid()
    assert not any(p.is_contiguous() for p in second.parameters() if p.ndim == 4)
    run(second, points, plan, folder=tmp_path)
    assert all(torch.equal(p, weights(reference)[name]) for name, p in weights(second).items())


def test_ctrl_c_ends_the_step_saves_it_and_stops(points: list[Point], tmp_path: Path) -> None:
    class Interrupted(Sine):
        def losses(self, batch: Points) -> Iterator[tuple[str, Tensor]]:
            if self.calls == 4:
                os.kill(os.getpid(), signal.SIGINT)
            yield from super().losses(batch)

    plan = Plan(steps=50, batch=16, save_every=100)
    seen = []
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        for step in train(Interrupted(), Batches(points, pack_points, plan=plan), plan, folder=tmp_path):
            seen.append(step.number)
    assert seen == [1, 2, 3, 4]
    kept = checkpoint.read(tmp_path)
    assert kept is not None and kept.step == 5
    assert signal.getsignal(signal.SIGINT) is before


def test_a_folder_of_another_run_is_refused(points: list[Point], tmp_path: Path) -> None:
    plan = Plan(steps=3, batch=16, save_every=1)
    run(Sine(), points, plan, folder=tmp_path)
    with pytest.raises(InputError, match="holds a run with other data or another plan"):
        run(Sine(), points, Plan(steps=3, batch=8, save_every=1), folder=tmp_path)
    with pytest.raises(InputError, match="holds a run with other data or another plan"):
        run(Sine(), points[:50], plan, folder=tmp_path)


def test_what_is_left_of_a_checkpoint_whose_removal_was_cut_off_goes_with_the_next(
    points: list[Point], tmp_path: Path
) -> None:
    plan = Plan(steps=6, batch=8, save_every=3)
    for number, _ in enumerate(train(Sine(), Batches(points, pack_points, plan=plan), plan, folder=tmp_path), 1):
        if number == 4:
            break
    (old,) = tmp_path.glob("step-*")
    (old / "state.json").rename(tmp_path / "away")  # the first that a removal took, when it was killed
    run(Sine(), points, plan, folder=tmp_path)
    assert [folder.name for folder in tmp_path.glob("step-*")] == ["step-00000006"]


def test_a_damaged_checkpoint_is_named(points: list[Point], tmp_path: Path) -> None:
    plan = Plan(steps=3, batch=16, save_every=1)
    run(Sine(), points, plan, folder=tmp_path)
    (saved,) = tmp_path.iterdir()
    file = saved / "weights.safetensors"
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(InputError, match=r"step-00000003 is damaged"):
        run(Sine(), points, plan, folder=tmp_path)


def test_two_losses_step_two_optimisers_in_turn(points: list[Point]) -> None:
    class Pair(Model):
        """Two parameters; each loss sees what the step before it did."""

        def __init__(self) -> None:
            super().__init__()
            self.critic, self.maker = nn.Parameter(torch.zeros(())), nn.Parameter(torch.zeros(()))
            self.seen: list[tuple[float, float]] = []

        def groups(self) -> dict[str, list[nn.Parameter]]:
            return {"critic": [self.critic], "maker": [self.maker]}

        def losses(self, batch: Points) -> Iterator[tuple[str, Tensor]]:
            yield "critic", (self.critic - 1).square()
            self.seen.append((float(self.critic.detach()), float(self.maker.detach())))
            yield "maker", (self.maker - self.critic).square()
            assert self.maker.grad is not None, "the gradient is still there when the model is resumed"

    model = Pair()
    plan = Plan(steps=1, batch=8, micro_batch=4, optimiser="sgd", betas=(0.0, 0.0), learning_rate=0.5, clip=0.0,
                warmup=0.0, schedule="constant")  # fmt: skip
    steps, _ = run(model, points, plan)
    assert model.seen == [(1.0, 0.0), (1.0, 0.0)], "every micro-batch resumes after the critic's one step"
    assert float(model.maker.detach()) == 1.0, "the critic was at 1 when the maker followed it"
    assert set(steps[0].losses) == {"critic", "maker"}


def test_adalora_moves_rank_once_a_step_though_a_step_has_micro_batches(tiny: Path, examples: list[Example]) -> None:
    plan = Plan(steps=24, batch=8, micro_batch=3, learning_rate=1e-2)
    model = build(Config(base=Base("CC0-1.0", ""), method="adalora", rank=4), tiny, steps=24, seed=0)
    for _ in train(model, Batches(examples, pack, plan=plan), plan):
        pass
    ranks = [int((p.abs() > 0).sum()) for name, p in model.named_parameters() if "lora_E" in name]
    assert model.updates == 24
    assert sum(ranks) <= 4 * 14 and len(set(ranks)) > 1


def test_nothing_to_train_is_said(tiny: Path, examples: list[Example]) -> None:
    model = build(Config(base=Base("CC0-1.0", ""), method="none"), tiny, steps=1, seed=0)
    with pytest.raises(InputError, match="nothing to train"):
        next(train(model, Batches(examples, pack, plan=Plan()), Plan()))
    assert isinstance(pack(examples[:2]), Sequences)


def test_without_a_rhythm_the_held_out_loss_is_looked_at_once_at_the_end(points: list[Point]) -> None:
    plan = Plan(steps=6, batch=8, validate_every=0, precision="fp32")
    held = held_out(points[:20], pack_points, plan=plan)
    steps = list(train(Sine(), Batches(points, pack_points, plan=plan), plan, validation=held))
    assert [step.number for step in steps if step.validation is not None] == [6]
