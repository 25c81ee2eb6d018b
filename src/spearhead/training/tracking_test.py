"""Figures reach the trackers; an estimate changes nothing; a device that is not there is said."""

import dataclasses
import itertools
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Literal

import numpy as np
import pytest
import torch

from spearhead.core.errors import InputError
from spearhead.core.media import Media
from spearhead.media.image.codec import read
from spearhead.models.pretrained.batch import Example, pack
from spearhead.models.pretrained.build import build
from spearhead.models.pretrained.config import Base, Config
from spearhead.nn.model import Model
from spearhead.training import devices
from spearhead.training.batches import Batches, held_out
from spearhead.training.estimate import estimate
from spearhead.training.loop import Step, train
from spearhead.training.plan import Plan
from spearhead.training.sine import Point, Points, Sine, pack_points
from spearhead.training.tracking import track


def steps_of(points: list[Point]) -> list[Step]:
    plan = Plan(steps=4, batch=8)
    return list(train(Sine(), Batches(points, pack_points, plan=plan), plan))


def test_tensorboard_shows_every_step(points: list[Point], tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    steps = steps_of(points)
    with track(("tensorboard",), tmp_path, name="sine") as note:
        for step in steps:
            note(step, None)
    seen = EventAccumulator(str(tmp_path / "tensorboard" / "sine"))
    seen.Reload()
    read = seen.Scalars("loss/train")
    assert [event.step for event in read] == [1, 2, 3, 4]
    assert [event.value for event in read] == pytest.approx([step.loss for step in steps])


def test_tensorboard_shows_the_samples_of_a_step(points: list[Point], tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    first, second, *_ = steps_of(points)
    grid = np.zeros((6, 9, 1), np.uint8)
    grid[2, 3] = 255
    with track(("tensorboard",), tmp_path, name="sine") as note:
        note(first, grid)
        note(second, "白日\n<b>依山</b>尽")
    seen = EventAccumulator(str(tmp_path / "tensorboard" / "sine"))
    seen.Reload()
    (picture,) = seen.Images("samples")
    assert (picture.step, picture.height, picture.width) == (1, 6, 9)
    drawn = read(Media("image", "image/png", picture.encoded_image_string), channels=1)
    assert np.array_equal(drawn, grid)
    (words,) = seen.Tensors("samples/text_summary")
    assert words.step == 2 and words.tensor_proto.string_val[0].decode() == "    白日\n    <b>依山</b>尽"


def test_wandb_writes_offline_and_sends_nothing(
    points: list[Point], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    with track(("wandb",), tmp_path, name="sine") as note:
        for step in steps_of(points):
            note(step, None)
    (log,) = (tmp_path / "wandb").glob("offline-run-*/*.wandb")
    end = time.monotonic() + 120
    while b"loss/train" not in log.read_bytes() and time.monotonic() < end:
        time.sleep(0.1)  # a process of the service's own writes it
    assert b"loss/train" in log.read_bytes()


def test_an_unknown_tracker_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="wanted tensorboard or wandb"), track(("csv",), tmp_path, name="x"):
        pass


def test_an_estimate_counts_and_changes_nothing(tiny: Path, examples: list[Example]) -> None:
    model = build(Config(base=Base("CC0-1.0", ""), rank=4, dropout=0.1), tiny, steps=10, seed=0)
    plan = Plan(steps=100, batch=8)
    before = {name: p.clone() for name, p in model.named_parameters()}
    state = torch.get_rng_state()
    found = estimate(model, Batches(examples, pack, plan=plan), plan, hour=3_600_000_000_000)
    assert all(torch.equal(p, before[name]) and p.grad is None for name, p in model.named_parameters())
    assert torch.equal(torch.get_rng_state(), state)
    assert found.steps == 100 and found.seconds > 0
    assert found.cost == pytest.approx(found.seconds * 1e9, rel=1e-6)
    # Two layers; each matrix has 4 * (in + out): q 64+64, k and v 64+32, o 64+64, gate and up 64+96, down 96+64.
    assert found.learning == 2 * 4 * (128 + 96 + 96 + 128 + 160 + 160 + 160)
    assert found.memory >= 4 * found.parameters + 16 * found.learning
    budget = estimate(model, Batches(examples, pack, plan=plan), Plan(steps=10**9, minutes=1.0))
    assert budget.seconds == 60 and 1 <= budget.steps < 10**9


def test_an_estimate_holds_the_validations_too(
    tiny: Path, examples: list[Example], monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = itertools.count()  # whatever is measured takes a second
    monkeypatch.setattr("spearhead.training.estimate.time", SimpleNamespace(perf_counter=lambda: next(ticks)))
    model = build(Config(base=Base("CC0-1.0", ""), rank=4), tiny, steps=10, seed=0)
    plan = Plan(steps=10, batch=8, validate_every=1)
    order, held = Batches(examples, pack, plan=plan), held_out(examples, pack, plan=plan) * 50
    state = torch.get_rng_state()
    alone = estimate(model, order, plan).seconds
    every, last = (
        estimate(model, order, dataclasses.replace(plan, validate_every=n), validation=held).seconds for n in (1, 0)
    )
    one = sum(micro.units for micro in held) / held[len(held) // 2].units
    assert last - alone == pytest.approx(one) and every - alone == pytest.approx(10 * one)
    assert torch.equal(torch.get_rng_state(), state) and model.training


def test_an_estimate_measures_the_longest_pair_though_the_first_step_is_without_it(
    tiny: Path, examples: list[Example]
) -> None:
    model = build(Config(base=Base("CC0-1.0", ""), rank=4), tiny, steps=10, seed=0)
    plan = Plan(steps=10, batch=2, micro_tokens=64)
    order = Batches([*examples, Example((5,) * 200, 1)], pack, plan=plan)
    assert len(examples) not in order.indices(0)
    seen: list[int] = []
    words = model.network.get_input_embeddings()
    words.register_forward_hook(lambda module, given, made: seen.append(given[0].numel()))
    estimate(model, order, plan)
    assert max(seen) == 200


class Wide(Model):
    """A layer of a million weights that tells in which precision it is computed."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1024, 1024, bias=False)
        self.seen: set[torch.dtype] = set()

    def matrices(self) -> Iterable[torch.nn.Parameter]:
        return list(self.layer.parameters())

    def losses(self, batch: Points) -> Iterator[tuple[str, torch.Tensor]]:
        made = self.layer(batch.x.expand(-1, 1024))
        self.seen.add(made.dtype)
        yield "loss", made.float().square().mean()


def test_an_estimate_is_of_the_precision_that_the_plan_asks_for(points: list[Point]) -> None:
    model = Wide()
    kinds: dict[Literal["fp32", "bf16"], torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16}
    for name, kind in kinds.items():
        plan = Plan(steps=10, batch=2, precision=name)
        model.seen.clear()
        weight = model.layer.weight.detach().clone()
        estimate(model, Batches(points, pack_points, plan=plan), plan)
        assert model.seen == {kind}
        assert torch.equal(model.layer.weight, weight)


def test_a_device_that_is_not_there_is_said() -> None:
    assert devices.choose("cpu") == torch.device("cpu")
    with pytest.raises(InputError, match="is unknown: wanted auto, cpu, cuda or mps"):
        devices.choose("tpu")
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="not on this machine; it has"):
            devices.choose("cuda")
    assert devices.precision("bf16", torch.device("cpu")) == torch.bfloat16


@pytest.mark.parametrize(("tiles", "wanted"), [(True, torch.bfloat16), (False, torch.float32)])
def test_a_processor_computes_in_half_precision_only_where_it_has_tiles_for_it(
    tiles: bool, wanted: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True, "amx_bf16": tiles})
    assert devices.precision("auto", torch.device("cpu")) == wanted


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_learns_too(precision: Literal["bf16", "fp16"], tiny: Path, examples: list[Example]) -> None:
    plan = Plan(steps=12, batch=8, learning_rate=1e-2, precision=precision)
    model = build(Config(base=Base("CC0-1.0", ""), rank=4), tiny, steps=12, seed=0)
    losses = [step.loss for step in train(model, Batches(examples[:8], pack, plan=plan), plan)]
    assert losses[-1] < losses[0]
    assert all(p.dtype == torch.float32 for p in model.parameters())
