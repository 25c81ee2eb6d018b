"""The gan family under the real loop: it learns, goes on from a checkpoint, is rolled back, and is served as it is."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from spearhead.core.catalogue import Catalogue
from spearhead.core.errors import InputError
from spearhead.core.family import Lesson, Task
from spearhead.core.generation import Draft, Prompt
from spearhead.core.media import text
from spearhead.core.record import Record
from spearhead.core.rights import Licence, Right
from spearhead.core.sampler import Sampler
from spearhead.core.template import Segment
from spearhead.media.image import codec
from spearhead.models.gan.config import PRESETS, Config
from spearhead.models.gan.export import export
from spearhead.models.gan.network import Gan, build
from spearhead.models.gan.style import StyleMaker
from spearhead.models.gan.tiny import SHAPE, kinds
from spearhead.models.pictures import pack
from spearhead.runtimes.failure import OptionRefused
from spearhead.runtimes.onnx import Onnx, Settings
from spearhead.training.batches import Batches, held_out
from spearhead.training.estimate import estimate
from spearhead.training.loop import Diverged, Trained, train
from spearhead.training.plan import Plan

PLAN = Plan(
    steps=160,
    batch=32,
    learning_rate=4e-3,
    clip=0.0,
    average=0.95,
    precision="fp32",
    validate_every=40,
    save_every=0,
)
LEARNT, HELD = kinds(400, seed=0), kinds(200, seed=1)


def run(
    plan: Plan, *, held: int = 200, config: Config = PRESETS["debug"], folder: Path | None = None, stop_at: int = 0
) -> tuple[Gan, list[Any], Trained | None]:
    """Train; with `stop_at`, break off after that step."""
    model = build(config, SHAPE, steps=plan.steps, seed=plan.seed)
    batches = Batches(LEARNT, pack, plan=plan)
    stream = train(model, batches, plan, validation=held_out(HELD[:held], pack, plan=plan), folder=folder)
    steps = []
    while True:
        try:
            steps.append(next(stream))
        except StopIteration as end:
            return model, steps, end.value
        if steps[-1].number == stop_at:
            stream.close()
            return model, steps, None


@pytest.fixture(scope="module")
def learnt() -> tuple[Gan, list[Any], Trained | None]:
    return run(PLAN)


def test_it_learns_with_its_debug_preset(learnt: tuple[Gan, list[Any], Trained | None]) -> None:
    model, steps, trained = learnt
    assert trained is not None
    untrained = build(PRESETS["debug"], SHAPE, steps=1, seed=0).eval()
    before = float(next(untrained.losses(pack(HELD)))[1])
    assert trained.best_loss < 0.6 < 1 < before, "nearer than the mean picture, as the untrained maker is not"
    assert all(set(step.losses) == {"critic", "maker"} for step in steps)
    assert float(next(model.losses(pack(HELD)))[1]) == pytest.approx(trained.best_loss, rel=1e-5), "the best is kept"


def test_labels_steer_what_is_drawn(learnt: tuple[Gan, list[Any], Trained | None]) -> None:
    """Lying bars are wider than high, standing ones the other way; the same noise for both."""
    model, _, _ = learnt
    ink = {}
    for label in (1, 2):
        rng = torch.Generator().manual_seed(3)
        pictures = (next(model.sample(torch.tensor([label]), 100, rng=rng, options={})) + 1) / 2
        along, across = pictures.mean((1, 2)).std(1), pictures.mean((1, 3)).std(1)  # over columns, over rows
        ink[label] = float((across > along).double().mean())
    assert ink[1] > 0.9 and ink[2] < 0.1


@pytest.mark.parametrize("name", ["debug", "style", "dcgan"])
def test_killed_and_resumed_it_ends_bit_for_bit_the_same(name: str, tmp_path: Path) -> None:
    config = PRESETS[name] if name == "debug" else replace(PRESETS[name], size=8, noise=16, width=16)
    config = replace(config, augment=("translation", "cutout"))
    plan = replace(PLAN, steps=8, batch=6, micro_batch=4, validate_every=4, save_every=3)
    calm, broken = tmp_path / "calm", tmp_path / "broken"
    whole, steps, _ = run(plan, held=12, config=config, folder=calm)
    run(plan, held=12, config=config, folder=broken, stop_at=5)
    resumed, rest, _ = run(plan, held=12, config=config, folder=broken)
    assert [step.number for step in rest] == [6, 7, 8]
    assert [(step.losses, step.validation) for step in rest] == [(s.losses, s.validation) for s in steps[5:]]
    for file in ("weights", "best", "average", "optimiser", "memory"):
        (a,), (b,) = (list(folder.glob(f"step-*/{file}.safetensors")) for folder in (calm, broken))
        ours, theirs = load_file(a), load_file(b)
        assert ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours), file
    assert resumed.reached == whole.reached == 8


@pytest.mark.parametrize(
    ("name", "steps", "bound"),
    [
        ("default", 120, 0.6),
        ("r3gan", 120, 0.6),
        ("wgan-gp", 400, 1.0),
        ("style", 120, 1.0),
        ("vanilla", 160, 1.8),
        ("dcgan", 160, 1.8),
    ],
)
def test_every_preset_learns_at_a_tiny_size(name: str, steps: int, bound: float) -> None:
    """1 is the distance of the mean picture; the two of the oldest loss do not come as near in so few steps."""
    config = replace(PRESETS[name], size=8, noise=16, width=64 if PRESETS[name].maker == "mlp" else 16)
    untrained = build(config, SHAPE, steps=1, seed=0).eval()
    before = float(next(untrained.losses(pack(HELD)))[1])
    model, _, trained = run(replace(PLAN, steps=steps), config=config)
    after = float(next(model.losses(pack(HELD)))[1])
    assert trained is not None and trained.best_loss == pytest.approx(after, rel=1e-5)
    assert after < bound < before / 2


def test_a_run_that_becomes_no_number_ends_with_one_line_and_its_best_weights(tmp_path: Path) -> None:
    class Spoiled(Batches[Any]):
        """Pictures that are no numbers from the eighth step on."""

        def at(self, step: int) -> list[Any]:
            return [replace(part, pixels=part.pixels * (float("nan") if step >= 7 else 1)) for part in super().at(step)]

    plan = replace(PLAN, steps=20, batch=8, average=0.0, validate_every=2)
    held = held_out(HELD[:40], pack, plan=plan)

    def begun() -> Gan:
        return build(PRESETS["debug"], SHAPE, steps=plan.steps, seed=plan.seed)

    model, best = begun(), dict[str, torch.Tensor]()
    with pytest.raises(Diverged, match="diverged at step 8: .*nan.*best weights are those of step .*Lower") as caught:
        for step in train(model, Spoiled(LEARNT, pack, plan=plan), plan, validation=held, folder=tmp_path):
            if step.best:
                best = {name: p.detach().clone() for name, p in model.named_parameters()}
    assert caught.value.exit_code == 1 and "\n" not in str(caught.value)
    again = begun()
    assert list(train(again, Spoiled(LEARNT, pack, plan=plan), plan, validation=held, folder=tmp_path)) == []
    for kept in (model, again):
        assert best and all(torch.equal(p, best[name]) for name, p in kept.named_parameters())


def test_a_collapse_is_seen_and_rolled_back_and_said(tmp_path: Path) -> None:
    """The learning rate rises until the maker draws the same blank picture for ever."""
    plan = replace(PLAN, steps=70, batch=16, learning_rate=0.05, average=0.0, schedule="constant", warmup=1.0)
    model, steps, trained = run(replace(plan, validate_every=5, patience=3))
    assert trained is not None
    judged = {step.number: step.validation for step in steps if step.validation is not None}
    assert trained.ended == "patience" and trained.best_step < trained.steps
    assert judged[trained.steps] > 2 * judged[trained.best_step] == 2 * min(judged.values())
    facts = export(model, tmp_path, SHAPE)
    assert facts["rolled_back"] is True
    assert (facts["weights_of_step"], facts["trained_steps"]) == (trained.best_step, trained.steps)
    ((_, told),) = Catalogue("spearhead.models", "FAMILY")["gan"].found(facts)
    assert str(told).startswith(f"of step {trained.best_step} of {trained.steps}: rolled back")
    assert float(next(model.losses(pack(HELD)))[1]) == pytest.approx(trained.best_loss, rel=1e-5)


@pytest.mark.parametrize(("every", "critics"), [(1, 1), (3, 3)])
def test_a_forecast_counts_the_turn_of_the_maker_and_changes_nothing(every: int, critics: int) -> None:
    config = replace(PRESETS["debug"], critic_steps=every)
    model = build(config, SHAPE, steps=10, seed=0)
    plan = replace(PLAN, steps=10, batch=8)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    turns: list[str] = []
    for name, group in model.groups().items():
        one: Any = next(iter(group))
        one.register_hook(lambda grad, name=name: turns.append(name))
    found = estimate(model, Batches(LEARNT, pack, plan=plan), plan)
    assert turns == 2 * [*critics * ["critic"], "maker"], "two micro-batches, each until the maker had its turn"
    assert found.learning == sum(p.numel() for p in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model.reached == 0 and all(p.grad is None for p in model.parameters())


@pytest.fixture(scope="module")
def styles(tmp_path_factory: pytest.TempPathFactory) -> tuple[Gan, Path]:
    """A maker of styles with four layers, and the folder of its graph."""
    model = build(replace(PRESETS["style"], size=8, noise=16, width=16, depth=2), SHAPE, steps=1, seed=0).eval()
    folder = tmp_path_factory.mktemp("styles")
    assert export(model, folder, SHAPE)["difference"] <= 1e-4
    return model, folder


async def drawn(folder: Path, *, count: int = 1, **options: Any) -> list[Any]:
    async with await Onnx.start(folder, settings=Settings(threads=1)) as runtime:
        prompt = Prompt((Segment("standing", False),), count=count, seed=11, options=options)
        drafts = [draft async for draft in runtime.generate(prompt)]
    found = {draft.index: draft.media for draft in drafts}
    return [codec.read(found[index], channels=1)[:, :, 0].astype(np.float32) for index in range(count)]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"mixing": 0},
        {"mixing": 1},
        {"mixing": 3, "mixing_seed": 5},
        {"mixing": 2, "mixing_seed": 5, "truncation": 0.5},
    ],
)
def test_two_styles_are_mixed_in_what_is_served_as_torch_mixes_them(
    options: dict[str, Any], styles: tuple[Gan, Path]
) -> None:
    model, folder = styles
    assert isinstance(model.maker, StyleMaker)
    wide, label = options.get("truncation", 1.0), torch.tensor([SHAPE.classes.index("standing")])
    for seed, found in zip((11, 12), asyncio.run(drawn(folder, count=2, **options)), strict=True):
        own = torch.from_numpy(
            np.random.Generator(np.random.Philox(seed)).standard_normal((2, 1, 16), dtype=np.float32)
        )
        second = own[1]
        if "mixing_seed" in options:
            other = np.random.Generator(np.random.Philox(5)).standard_normal((1, 16), dtype=np.float32)
            second = torch.from_numpy(other)
        with torch.no_grad():
            first, second = (model.maker.mapping(wide * one, label) for one in (own[0], second))
            rules = [second if options.get("mixing") and layer >= options["mixing"] else first for layer in range(4)]
            wanted = model.maker.draw(torch.stack(rules, 1)).clamp(-1, 1)
        assert float(np.abs(found - (wanted[0, 0].numpy() + 1) * 127.5).max()) <= 0.6


def test_the_coarse_of_one_picture_and_the_fine_of_another_is_neither_of_them(styles: tuple[Gan, Path]) -> None:
    _, folder = styles
    ((one,), (mixed,), (same,)) = (
        asyncio.run(drawn(folder, **options))
        for options in ({}, {"mixing": 2, "mixing_seed": 5}, {"mixing": 2, "mixing_seed": 11})
    )
    assert np.array_equal(one, same) and float(np.abs(one - mixed).mean()) > 3


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"mixing": 4}, "mixing: wanted 0 to 3, got 4"),
        ({"mixing": -1}, "mixing: wanted 0 to 3"),
        ({"mixing": 1.5}, "mixing: wanted a whole number"),
        ({"mixing_seed": 5}, "mixing_seed says whose style is the second one: give mixing too"),
        ({"mixing": 1, "mixing_seed": -5}, "mixing_seed: wanted 0 to"),
    ],
)
def test_a_mixture_that_cannot_be_is_refused_by_name(
    options: dict[str, Any], said: str, styles: tuple[Gan, Path]
) -> None:
    with pytest.raises(OptionRefused, match=said) as caught:
        asyncio.run(drawn(styles[1], **options))
    assert caught.value.option in options


def test_a_sampler_that_promises_styles_needs_a_graph_that_takes_two(learnt: Any, tmp_path: Path) -> None:
    export(learnt[0], tmp_path, SHAPE)
    assert Sampler.read(tmp_path / "sampler.json").layers == 0
    told = replace(Sampler.read(tmp_path / "sampler.json"), layers=3)
    (tmp_path / "sampler.json").write_text(told.to_json(), encoding="utf-8")
    with pytest.raises(InputError, match="wanted noise, label, other, layer and one output"):
        asyncio.run(drawn(tmp_path))


def begun(records: list[Record]) -> Lesson:
    task = Task(PRESETS["debug"], lambda: records, lambda: records[:6], steps=10, seed=3)
    stream = Catalogue("spearhead.models", "FAMILY")["gan"].begin(task)
    while True:
        try:
            next(stream)
        except StopIteration as end:
            found: Lesson = end.value
            return found


def test_what_is_served_is_what_torch_draws(tmp_path: Path) -> None:
    licence = Licence("CC0-1.0", Right.TRAIN | Right.SHARE | Right.SELL, "")
    records = [
        Record({"input": text(SHAPE.classes[one.label]), "output": codec.write(one.pixels)}, licence, f"test:{number}")
        for number, one in enumerate(kinds(24, seed=0))
    ]
    lesson = begun(records)
    assert lesson.preview is not None and lesson.preview().shape == (24, 48, 1), "a row for each of three classes"
    for _ in lesson.finish(tmp_path):
        pass

    async def answered() -> list[Draft]:
        async with await Onnx.start(tmp_path / "parts", settings=Settings(threads=1)) as runtime:
            prompt = Prompt((Segment("standing", False),), seed=11, options={"truncation": 0.5})
            return [draft async for draft in runtime.generate(prompt)]

    (draft,) = asyncio.run(answered())
    assert draft.media is not None
    noise = np.random.Generator(np.random.Philox(11)).standard_normal((1, 16), dtype=np.float32)
    model = lesson.model.eval()
    with torch.no_grad():
        wanted = model.maker(0.5 * torch.from_numpy(noise), torch.tensor([2])).clamp(-1, 1)  # names are sorted
    found = codec.read(draft.media, channels=1)[:, :, 0].astype(np.float32)
    assert float(np.abs(found - (wanted[0, 0].numpy() + 1) * 127.5).max()) <= 0.6
