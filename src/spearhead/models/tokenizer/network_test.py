"""Codes against the published tables, gradients through the rounding, no dead codes, pictures that come back."""

import dataclasses
import math

import pytest
import torch
from torch import Tensor
from torch.distributed import HashStore  # type: ignore[attr-defined,unused-ignore]

from spearhead.core.errors import InputError
from spearhead.models.pictures import Pictures, Shape
from spearhead.models.tokenizer import FAMILY
from spearhead.models.tokenizer.config import Config
from spearhead.models.tokenizer.network import Levels, Tokenizer, Vectors, build
from spearhead.models.tokenizer.quality import measure

DEBUG = FAMILY.presets["debug"]


def learnt(config: Config, shape: Shape, pictures: Pictures, *, steps: int, seed: int = 0) -> Tokenizer:
    model = build(config, shape, steps=steps, seed=seed)
    torch.manual_seed(seed)
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    for step in range(steps):
        part = slice(step % 4 * 32, step % 4 * 32 + 32)
        for _, loss in model.losses(Pictures(pictures.pixels[part], pictures.labels[part])):
            optimiser.zero_grad()
            torch.autograd.backward(loss)
            optimiser.step()
    return model.eval()


@pytest.mark.parametrize(
    ("levels", "codes"),
    [
        ((8, 6, 5), 240),
        ((8, 5, 5, 5), 1000),
        ((7, 5, 5, 5, 5), 4375),
        ((8, 8, 8, 6, 5), 15360),
        ((8, 8, 8, 5, 5, 5), 64000),
    ],
)
def test_the_published_levels_give_their_number_of_codes(levels: tuple[int, ...], codes: int) -> None:
    quantiser = Levels(levels)
    assert quantiser.vocab == codes == len({tuple(row) for row in quantiser.table.tolist()})
    all_codes = torch.arange(codes).view(1, codes, 1)
    values = quantiser.look_up(all_codes)
    again = ((values * quantiser.middle + quantiser.middle).round().long() * quantiser.basis).sum(1)
    assert torch.equal(again, all_codes)


@pytest.mark.parametrize("level", [2, 3, 5, 6, 8])
def test_a_number_reaches_each_of_its_levels_evenly_spaced(level: int) -> None:
    z = torch.linspace(-8, 8, 4001).view(-1, 1, 1, 1)
    coded = Levels((level,)).eval()(z)
    assert coded.codes.flatten().unique_consecutive().tolist() == list(range(level))
    values = sorted(set(coded.values.flatten().tolist()))
    width = 1 / (level // 2)  # the published layout: whole numbers over half the levels, from -1 upwards
    assert values == pytest.approx([-1 + width * i for i in range(level)], abs=1e-6)
    assert torch.allclose(Levels((level,)).look_up(coded.codes), coded.values, atol=1e-6)


def test_zero_lies_on_a_level_of_its_own_and_the_gradient_passes_the_rounding_by() -> None:
    quantiser = Levels((8, 5)).eval()
    z = torch.zeros(1, 2, 1, 1, requires_grad=True)
    coded = quantiser(z)
    assert coded.values.flatten().tolist() == [0, 0] and coded.codes.item() == 4 + 8 * 2
    torch.autograd.backward(coded.values.sum())
    # d tanh(z + s) * h / m: h = 3.5 * 1.001, s = atanh(.5 / h), m = 4; and h = 2 * 1.001, s = 0, m = 2.
    h = 3.5 * 1.001
    want = [(1 - (0.5 / h) ** 2) * h / 4, 2 * 1.001 / 2]
    assert z.grad is not None and z.grad.flatten().tolist() == pytest.approx(want, rel=1e-4)


def test_vectors_take_the_nearest_and_move_to_the_mean_of_their_own() -> None:
    torch.manual_seed(0)
    quantiser = Vectors(3, 2)
    quantiser.table.copy_(torch.tensor([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]]))
    quantiser.uses.fill_(1.0)
    quantiser.sums.copy_(quantiser.table)
    z = torch.tensor([[1.0, 1.0], [4.0, 1.0], [0.0, 3.0], [1.0, 5.0]]).T.reshape(1, 2, 2, 2)
    coded = quantiser(z)
    assert coded.codes.flatten().tolist() == [0, 1, 2, 2]
    assert coded.pull.item() == pytest.approx(0.25 * (1 + 1 + 0 + 1 + 0 + 1 + 1 + 1) / 8)
    quantiser.follow(z, coded.codes)
    # uses .99 * 1 + .01 * (1, 1, 2); sums .99 * vector + .01 * (what was given)
    assert quantiser.uses.tolist() == pytest.approx([1.0, 1.0, 1.01])
    assert quantiser.table[2].tolist() == pytest.approx([0.01 * 1 / 1.01, (0.99 * 4 + 0.01 * 8) / 1.01], rel=1e-5)


def test_the_nearest_vector_is_the_nearest_in_half_precision_too() -> None:
    quantiser = Vectors(200, 16)
    z = torch.randn(8, 16, 4, 4, generator=torch.Generator().manual_seed(0)).bfloat16()
    rows = z.double().permute(0, 2, 3, 1).reshape(-1, 16)
    wanted = torch.cdist(rows, quantiser.table.double()).argmin(1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(quantiser(z).codes.flatten(), wanted)


def test_a_vector_without_use_is_put_where_a_picture_is() -> None:
    torch.manual_seed(0)
    quantiser = Vectors(4, 2)
    quantiser.table.copy_(torch.tensor([[1.0, 1.0], [90.0, 0.0], [91.0, 0.0], [92.0, 0.0]]))
    quantiser.uses.copy_(torch.tensor([4.0, 0.0, 0.0, 0.0]))
    quantiser.sums.copy_(quantiser.table * quantiser.uses[:, None])
    z = torch.randn(1, 2, 3, 3)
    quantiser.follow(z, quantiser(z).codes)
    given = {tuple(row) for row in z.permute(0, 2, 3, 1).reshape(-1, 2).tolist()}
    for row in quantiser.table[1:]:
        assert min(math.dist(row.tolist(), one) for one in given) < 1e-5


def test_vectors_that_all_lie_far_away_but_one_come_into_use(shape: Shape, slopes: Pictures) -> None:
    config = dataclasses.replace(DEBUG, quantiser="vq")
    model = build(config, shape, steps=1, seed=0)
    assert isinstance(model.quantiser, Vectors)
    model.quantiser.table[1:] += 1000
    assert measure(model, [slopes]).used == 1
    torch.manual_seed(0)
    for _ in range(40):
        list(model.losses(slopes))  # the network itself stays as it is
    found = measure(model, [slopes])
    assert found.used == 25 and found.perplexity > 12, "codes in use, and not only once each"


@pytest.mark.parametrize("kind", ["fsq", "vq"])
def test_pictures_come_back(kind: str, shape: Shape, slopes: Pictures) -> None:
    config = dataclasses.replace(DEBUG, quantiser=kind)
    untrained = measure(build(config, shape, steps=1, seed=0), [slopes])
    found = measure(learnt(config, shape, slopes, steps=160 if kind == "fsq" else 100), [slopes])
    mean = slopes.pixels.mean((1, 2, 3), keepdim=True)
    flat = float((slopes.pixels - mean).mul(127.5).square().mean())
    assert found.error < 0.25 * flat < untrained.error, "a quarter of what each picture's mean would cost"
    assert found.psnr == pytest.approx(10 * math.log10(255**2 / found.error))
    assert 8 < found.perplexity <= found.used <= 25
    if kind == "fsq":
        assert found.used == 25, "no dead codes"


def test_the_measure_of_a_tokenizer_is_the_one_counted_by_hand(shape: Shape, slopes: Pictures) -> None:
    model = build(DEBUG, shape, steps=1, seed=0).eval()
    few = Pictures(slopes.pixels[:3], slopes.labels[:3])
    found = measure(model, [Pictures(few.pixels[:1], few.labels[:1]), Pictures(few.pixels[1:], few.labels[1:])])
    with torch.no_grad():
        codes = model.encode(few.pixels)
        back = ((model.decode(codes) + 1) * 127.5).round()
    error = float((back - (few.pixels + 1) * 127.5).square().mean())
    counts = [int((codes == code).sum()) for code in range(25)]
    entropy = -sum(n / codes.numel() * math.log(n / codes.numel()) for n in counts if n)
    assert found.error == pytest.approx(error, rel=1e-5) and found.perplexity == pytest.approx(math.exp(entropy))
    assert found.used == sum(n > 0 for n in counts)


def test_numbers_that_go_together_and_lie_far_out_reach_every_code() -> None:
    quantiser = Levels((8, 5))
    z = torch.randn(16, 2, 8, 8, generator=torch.Generator().manual_seed(0)) * 30 + 50
    z[:, 1] = z[:, 0] + 0.1 * z[:, 1]
    learning = quantiser(z)
    assert len(set(learning.codes.flatten().tolist())) == 40
    for _ in range(600):
        quantiser.follow(z, learning.codes)
    same = quantiser.eval()(z).codes == learning.codes
    assert float(same.float().mean()) > 0.99, "what learns and what is judged agree once the moments have settled"


@pytest.mark.parametrize("levels", [(2, 2, 2), (2, 5), (3, 2, 4)])
def test_both_of_two_levels_are_as_easily_reached(levels: tuple[int, ...]) -> None:
    quantiser = Levels(levels)
    z = torch.randn(64, len(levels), 8, 8, generator=torch.Generator().manual_seed(0)) * 3 + 1
    codes = quantiser(z).codes
    assert len(set(codes.flatten().tolist())) == math.prod(levels), "no dead codes"
    low = (codes // quantiser.basis.flatten()[levels.index(2)] % 2 == 0).float().mean()
    assert 0.47 < float(low) < 0.53, "half of them lie below the mean"


def test_what_is_not_a_number_stays_one_so_that_the_loop_sees_it(shape: Shape, slopes: Pictures) -> None:
    model = build(DEBUG, shape, steps=1, seed=0)
    spoiled = Pictures(slopes.pixels[:4] * float("nan"), slopes.labels[:4])
    (_, loss) = next(model.losses(spoiled))
    assert math.isnan(loss.item())


def test_vectors_refuse_several_processes_and_levels_take_them(shape: Shape, slopes: Pictures) -> None:
    alone = build(DEBUG, shape, steps=1, seed=0)
    list(alone.losses(slopes))
    torch.distributed.init_process_group("gloo", store=HashStore(), rank=0, world_size=1)
    try:
        model = build(DEBUG, shape, steps=1, seed=0)
        list(model.losses(slopes))
        assert torch.equal(model.quantiser.mean, alone.quantiser.mean)  # type: ignore[arg-type]
        with pytest.raises(InputError, match="in one process alone"):
            list(build(dataclasses.replace(DEBUG, quantiser="vq"), shape, steps=1, seed=0).losses(slopes))
    finally:
        torch.distributed.destroy_process_group()


def test_levels_whiten_by_what_is_learnt_together_and_judge_each_picture_alone(shape: Shape, slopes: Pictures) -> None:
    """So the parts of a batch (micro-batches, processes) learn nearly what the whole does, not the same."""

    def errors(*parts: slice, training: bool) -> float:
        model = build(DEBUG, shape, steps=1, seed=0).train(training)
        with torch.no_grad():
            found = [float(next(model.losses(Pictures(slopes.pixels[p], slopes.labels[p])))[1]) for p in parts]
        return sum(found) / len(found)

    whole, halves = slice(0, 16), (slice(0, 8), slice(8, 16))
    assert errors(*halves, training=False) == pytest.approx(errors(whole, training=False), rel=1e-5)
    assert abs(errors(*halves, training=True) / errors(whole, training=True) - 1) > 1e-4


@pytest.mark.parametrize("kind", ["fsq", "vq"])
def test_the_same_seed_learns_the_same(kind: str, shape: Shape, slopes: Pictures) -> None:
    def codes(seed: int) -> Tensor:
        config = dataclasses.replace(DEBUG, quantiser=kind)
        return learnt(config, shape, slopes, steps=5, seed=seed).encode(slopes.pixels)

    assert torch.equal(codes(0), codes(0)) and not torch.equal(codes(0), codes(1))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"halvings": 4}, "cannot be halved 4 times"),
        ({"halvings": 0}, "cannot be halved 0 times"),
        ({"levels": (1, 5)}, "model.levels"),
        ({"levels": (60, 60, 60)}, "65,536 codes at most"),
        ({"codes": 1}, "model.codes"),
    ],
)
def test_a_configuration_that_cannot_be_is_said(change: dict[str, object], said: str, shape: Shape) -> None:
    with pytest.raises(InputError, match=said):
        build(dataclasses.replace(DEBUG, **change), shape, steps=1, seed=0)


@pytest.mark.parametrize("preset", list(FAMILY.presets))
def test_every_preset_builds_and_its_codes_lie_in_its_vocabulary(preset: str) -> None:
    config = FAMILY.presets[preset]
    model = build(config, Shape(config.size, config.size, config.channels), steps=1, seed=0).eval()
    pixels = torch.rand(2, config.channels, config.size, config.size) * 2 - 1
    with torch.no_grad():
        codes = model.encode(pixels)
        assert codes.shape == (2, *model.grid) and 0 <= int(codes.min()) <= int(codes.max()) < model.vocab
        assert model.decode(codes).shape == pixels.shape
