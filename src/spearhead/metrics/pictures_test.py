"""Metrics of pictures on a tiny data set of three shapes, held against independent implementations."""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from spearhead.core.catalogue import Catalogue
from spearhead.core.errors import InputError
from spearhead.core.media import Media, text
from spearhead.core.record import Record
from spearhead.core.rights import Licence, Right
from spearhead.core.score import Case, Metric, Score
from spearhead.media.image.codec import Pixels, read, write
from spearhead.metrics import classifier, features, manifold, picture_baselines, pictures
from spearhead.metrics.evaluate import compare, evaluate, measured
from spearhead.metrics.picture_baselines import Pool
from spearhead.metrics.pictures import Ground
from spearhead.metrics.setting import Setting
from spearhead.store.home import Home

METRICS = Catalogue("spearhead.metrics", "METRIC")
KINDS = ("bar", "disc", "frame")
LICENCE = Licence("CC0-1.0", Right.TRAIN, "")
OVER_SETS = ("frechet", "kid", "precision", "recall", "density", "coverage")
ALL = (*OVER_SETS, "class_accuracy", "class_balance", "nearest")
DIGEST = "d1" * 32


def drawn(kind: str, rng: np.random.Generator) -> Pixels:
    """A light shape on a dark ground, 16 x 16, with noise."""
    rows, columns = np.mgrid[:16, :16]
    y, x = rng.uniform(6, 10, 2)
    size = rng.uniform(3, 5)
    if kind == "bar":
        shape = abs(rows - y) < size / 2
    elif kind == "disc":
        shape = (rows - y) ** 2 + (columns - x) ** 2 < size**2
    else:
        shape = np.maximum(abs(rows - y), abs(columns - x)).round() == round(size)
    found = np.where(shape, rng.uniform(150, 255), rng.uniform(0, 60)) + rng.normal(0, 8, (16, 16))
    return np.clip(found, 0, 255).astype(np.uint8)[..., None]


def records(count: int, seed: int) -> list[Record]:
    rng = np.random.default_rng(seed)
    kinds = [KINDS[number % 3] for number in range(count)]
    return [Record({"input": text(k), "output": write(drawn(k, rng))}, LICENCE, "x") for k in kinds]


TRAIN, HELD = records(300, 1), records(120, 2)


def finish(steps: Any) -> Any:
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def grounded(home: Home) -> Ground:
    steps = pictures.ground(home, train=lambda: TRAIN, reference=lambda: HELD, split="test", digest=DIGEST,
                            extractor="classifier")  # fmt: skip
    found: Ground = finish(steps)
    return found


@pytest.fixture(scope="module", autouse=True)
def _quick() -> Iterator[None]:
    steps = classifier.LEAST_STEPS
    classifier.LEAST_STEPS = 60
    yield
    classifier.LEAST_STEPS = steps


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def ground(home: Home) -> Ground:
    return grounded(home)


@pytest.fixture(scope="module")
def setting(home: Home, ground: Ground) -> Setting:
    return Setting(home, lambda: TRAIN, DIGEST, ground)


@pytest.fixture(scope="module")
def pool() -> Pool:
    return Pool.of(TRAIN, channels=1)


def cases(count: int = 90) -> list[Case]:
    return [Case(one.parts["input"], one.parts["output"], one.parts["output"]) for one in HELD[:count]]


def answered(outputs: Sequence[Media]) -> list[Case]:
    return [dataclasses.replace(case, output=one) for case, one in zip(cases(len(outputs)), outputs, strict=True)]


def fresh(count: int = 90, seed: int = 3) -> list[Case]:
    """Other pictures of the same kinds: what a perfect generator would make."""
    return answered([one.parts["output"] for one in records(count, seed)])


def score(name: str, setting: Setting, found: Sequence[Case], draws: int = 20) -> Score:
    return evaluate(found, [METRICS[name].bind(setting)], seed=0, draws=draws)[0]


# -- the classifier --------------------------------------------------------------------------------------------------
def test_the_classifier_is_right_on_pictures_it_never_saw_and_is_trained_once(home: Home, ground: Ground) -> None:
    facts = ground.extractor.facts
    assert facts.accuracy is not None and facts.accuracy > 0.9 and facts.classes == KINDS
    [place] = (home.models / "features").iterdir()
    before = (place / "model.onnx").stat().st_mtime_ns
    assert grounded(home).extractor.facts == facts and (place / "model.onnx").stat().st_mtime_ns == before


def test_the_same_pictures_give_the_same_classifier_elsewhere(ground: Ground, tmp_path: Path) -> None:
    again = grounded(Home(tmp_path / "home", tmp_path / "cache"))
    assert again.extractor.facts.signature == ground.extractor.facts.signature


def test_training_leaves_the_callers_randomness_alone() -> None:
    torch.manual_seed(7)
    wanted = torch.rand(1)
    torch.manual_seed(7)
    pixels = np.stack([read(one.parts["output"], channels=1) for one in TRAIN[:30]])
    finish(classifier.train(pixels, np.arange(30) % 3, classes=3))
    assert torch.rand(1) == wanted


def test_one_class_and_an_altered_model_are_said_in_one_line(home: Home, ground: Ground, tmp_path: Path) -> None:
    bars = [(k.parts["input"].text, k.parts["output"]) for k in TRAIN[::3]]
    with pytest.raises(InputError, match="are of 1 classes: .*measure by efficientnet-lite0 instead"):
        finish(features.classifier(home, train=bars, held=[], data="one"))
    with pytest.raises(InputError, match=r"evaluation\.features is 'inception'"):
        finish(pictures.ground(home, train=list, reference=list, split="test", digest="", extractor="inception"))
    [place] = (home.models / "features").iterdir()
    other = tmp_path / "copy"
    other.mkdir()
    for path in place.iterdir():
        (other / path.name).write_bytes(path.read_bytes())
    (other / "model.onnx").write_bytes((place / "model.onnx").read_bytes() + b"x")
    with pytest.raises(InputError, match="is not the file that was put there"):
        features.Extractor(other)


# -- equal to independent implementations ----------------------------------------------------------------------------
def test_the_frechet_distance_is_scipys(setting: Setting, ground: Ground) -> None:
    from scipy.linalg import sqrtm  # type: ignore[import-untyped,unused-ignore]

    found = fresh()
    one, other = ground.features(found, "test"), ground.reference_features()
    first, second = np.cov(one, rowvar=False), np.cov(other, rowvar=False)
    # A ridge, since scipy's root of a singular product is not to be trusted; taken off again by its own trace.
    root = sqrtm(first @ second + 1e-12 * np.eye(len(first)))
    wanted = ((one.mean(0) - other.mean(0)) ** 2).sum() + np.trace(first + second - 2 * np.real(root))
    assert score("frechet", setting, found).value == pytest.approx(wanted, rel=1e-3)


def test_the_kernel_distance_is_torchmetrics_where_sets_are_equal_and_a_double_sum_elsewhere(
    setting: Setting, ground: Ground
) -> None:
    from torchmetrics.image.kid import poly_mmd

    found = fresh(120)
    one, other = ground.features(found, "test"), ground.reference_features()
    wanted = 1000 * float(poly_mmd(torch.from_numpy(other), torch.from_numpy(one)))
    assert score("kid", setting, found).value == pytest.approx(wanted, rel=1e-9)
    few = found[:10]
    one = ground.features(few, "test")

    def kernel(x: Any, y: Any) -> float:
        return float((x @ y / len(x) + 1) ** 3)

    inner = np.mean([kernel(a, b) for i, a in enumerate(one) for j, b in enumerate(one) if i != j])
    real = np.mean([kernel(a, b) for i, a in enumerate(other) for j, b in enumerate(other) if i != j])
    across = np.mean([kernel(a, b) for a in one for b in other])
    assert score("kid", setting, few).value == pytest.approx(1000 * (inner + real - 2 * across), rel=1e-9)


@pytest.mark.parametrize("name", ["precision", "recall", "density", "coverage"])
def test_the_four_are_what_their_papers_define(name: str, setting: Setting, ground: Ground) -> None:
    found = fresh(40)
    made, real = ground.features(found, "test"), ground.reference_features()

    def gap(one: Any, other: Any) -> float:
        return float(np.linalg.norm(one - other))

    def radius(points: Any, at: int) -> float:
        return sorted(gap(points[at], other) for i, other in enumerate(points) if i != at)[manifold.NEIGHBOURS - 1]

    reach = [radius(real, at) for at in range(len(real))]
    of_made = [radius(made, at) for at in range(len(made))]
    inside = [[gap(r, m) <= reach[i] for m in made] for i, r in enumerate(real)]
    wanted = {
        "precision": 100 * np.mean([any(row[j] for row in inside) for j in range(len(made))]),
        "density": sum(map(sum, inside)) / (manifold.NEIGHBOURS * len(made)),
        "coverage": 100 * np.mean([any(row) for row in inside]),
        "recall": 100 * np.mean([any(gap(r, m) <= of_made[j] for j, m in enumerate(made)) for r in real]),
    }[name]
    assert score(name, setting, found).value == pytest.approx(wanted)


# -- what the scores say ---------------------------------------------------------------------------------------------
def test_real_pictures_beat_the_trivial_ones_and_every_score_has_its_interval(setting: Setting, pool: Pool) -> None:
    ours = fresh()
    beside = {name: picture_baselines.answer(name, pool, ours, seed=0) for name in picture_baselines.NAMES}
    metrics = [METRICS[name].bind(setting) for name in ALL]
    rows = {row.name: row for row in finish(measured(ours, beside, metrics, seed=0, draws=30))}
    assert list(rows) == list(ALL)
    for row in rows.values():
        assert row.interval[0] <= row.value <= row.interval[1], row.name
        assert set(row.baselines) == set(row.p_values) == set(picture_baselines.NAMES)
    for name in ("frechet", "kid"):
        row = rows[name]
        assert row.baselines["mean"] > 3 * max(row.value, 0.1) and row.p_values["mean"] < 0.05
    assert rows["coverage"].baselines["mean"] < rows["coverage"].value / 2
    assert rows["recall"].baselines["mean"] < rows["recall"].value
    assert rows["nearest"].baselines["real"] == rows["nearest"].baselines["nearest"] == 100
    assert rows["nearest"].value < 30
    assert rows["class_accuracy"].value > 85 and rows["class_balance"].value < 10


def test_no_interval_leaves_what_its_metric_can_be(setting: Setting) -> None:
    """Its draws are moved to the value: a perfect share would pass 100, and no distance at all go below 0."""
    found = {name: score(name, setting, cases(), draws=40) for name in (*OVER_SETS, "class_balance")}
    ends = {name: one.interval for name, one in found.items() if one.interval is not None}
    for name in ("precision", "recall", "coverage", "class_balance"):
        assert 0 <= ends[name][0] <= found[name].value <= ends[name][1] <= 100, name
    assert found["recall"].value > 95 and ends["recall"][1] == 100
    assert ends["frechet"][0] >= 0 and ends["density"][0] >= 0
    assert ends["kid"][0] < 0, "an unbiased distance may well be"


def test_the_wrong_class_costs_accuracy_and_one_class_alone_costs_balance(setting: Setting) -> None:
    turned = [one.parts["output"] for one in records(91, 3)[1:]]  # everything one class further
    assert score("class_accuracy", setting, answered(turned)).value < 15
    assert score("class_balance", setting, answered(turned)).value < 10
    bars = [one.parts["output"] for one in records(270, 4)[::3]]
    assert score("class_balance", setting, answered(bars)).value == pytest.approx(100 * 2 / 3, abs=5)


def test_a_copied_picture_is_shown_beside_what_it_copies(setting: Setting) -> None:
    copied = TRAIN[17].parts["output"]
    noisy = np.clip(read(copied, channels=1).astype(int) + 3, 0, 255).astype(np.uint8)
    [shown] = METRICS["nearest"].bind(setting).show(answered([write(noisy)]))
    assert shown.nearest == copied and shown.similarity > 0.9
    red = np.repeat(read(copied, channels=1), 3, 2) * np.array([1, 0, 0], np.uint8)
    same, turned = METRICS["nearest"].bind(setting).show(answered([copied, write(red)]))
    assert same.similarity == pytest.approx(1) and turned.similarity < 0.5, "a grey picture is no copy of a red one"
    assert (same.nearer, same.distance) == (100, pytest.approx(0)), "nearer than every held-out picture"
    held = METRICS["nearest"].bind(setting).show(answered([one.parts["output"] for one in HELD]))
    ranks = sorted(one.similarity for one in held)
    assert [one.nearer for one in held] == pytest.approx([100 * ranks.index(o.similarity) / len(HELD) for o in held])


@pytest.mark.parametrize("name", ALL)
def test_order_does_not_matter_and_the_signature_tells_how_it_was_measured(name: str, setting: Setting) -> None:
    metric: Metric = METRICS[name].bind(setting)
    one, other = (evaluate(found, [metric], seed=0, draws=10)[0] for found in (fresh(), fresh()[::-1]))
    assert one.value == pytest.approx(other.value, rel=1e-6) and one.signature == other.signature
    assert "cases:90" in one.signature and "FID" not in one.signature
    if name in OVER_SETS:
        assert "classifier@1:" in one.signature and "reference:test-d1d1d1d1x120" in one.signature
        assert "bootstrap:10,centred" in one.signature


def test_a_better_generator_is_told_from_a_worse_one(setting: Setting, pool: Pool) -> None:
    ours = fresh()
    worse = picture_baselines.answer("mean", pool, ours, seed=0)
    found = compare(ours, worse, METRICS["frechet"].bind(setting), seed=0, draws=60)
    assert found.delta < 0 and found.interval[1] < 0 and found.p_value < 0.05
    same = compare(ours, ours, METRICS["frechet"].bind(setting), seed=0, draws=10)
    assert (same.delta, same.p_value) == (0.0, 1.0)


# -- baselines -------------------------------------------------------------------------------------------------------
def test_baselines_are_the_averages_and_pictures_that_they_say(pool: Pool) -> None:
    asked = cases(60)
    bars = np.stack([read(one.parts["output"], channels=1) for one in TRAIN[::3]]).astype(float)
    mean = picture_baselines.answer("mean", pool, asked, seed=0)
    assert abs(read(mean[0].output, channels=1) - bars.mean(0)).max() <= 0.5
    many = [asked[0]] * 400
    drawn_ones = picture_baselines.answer("gaussian", pool, many, seed=0)
    values = np.stack([read(case.output, channels=1) for case in drawn_ones]).astype(float)
    assert abs(values.mean(0) - bars.mean(0)).mean() < 6
    assert values.std(0).mean() == pytest.approx(bars.std(0).mean(), rel=0.15)
    real = picture_baselines.answer("real", pool, asked, seed=0)
    assert len({case.output.id for case in real}) == 60
    classes = {one.parts["output"].id: one.parts["input"].text for one in TRAIN}
    assert all(case.input is not None and classes[case.output.id] == case.input.text for case in real)
    known = [dataclasses.replace(asked[0], reference=TRAIN[9].parts["output"])]
    assert picture_baselines.answer("nearest", pool, known, seed=0)[0].output == TRAIN[9].parts["output"]


def test_the_same_seed_draws_the_same_baseline(pool: Pool) -> None:
    one, same, other = (picture_baselines.answer("gaussian", pool, cases(6), seed=seed) for seed in (1, 1, 2))
    assert one == same != other


# -- bad input -------------------------------------------------------------------------------------------------------
def test_what_cannot_be_measured_is_said(setting: Setting, ground: Ground, pool: Pool) -> None:
    words = [Case(text("bar"), text("a bar"), None)] * 10
    for name in ALL:
        with pytest.raises(InputError, match=f"{name} needs the data that the cases come from"):
            evaluate(fresh(10), [METRICS[name]], seed=0)
        with pytest.raises(InputError, match=f"{name}: the output of case 0 is text: wanted a picture"):
            score(name, setting, words)
    with pytest.raises(InputError, match="asks for 'boat', which is no class"):
        score("class_accuracy", setting, [dataclasses.replace(case, input=text("boat")) for case in fresh(3)])
    with pytest.raises(InputError, match="wanted at least two cases"):
        score("frechet", setting, fresh(1))
    with pytest.raises(InputError, match="3 cases and 120 reference pictures: wanted more than 5"):
        score("precision", setting, fresh(3))
    with pytest.raises(InputError, match="baseline 'copy' is unknown for pictures"):
        picture_baselines.answer("copy", pool, cases(3), seed=0)
    with pytest.raises(InputError, match="wanted two to measure against"):
        Ground(ground.extractor, reference=[], split="test", train=[], digest="")
    with pytest.raises(InputError, match="there are no training pictures"):
        Pool.of([])
