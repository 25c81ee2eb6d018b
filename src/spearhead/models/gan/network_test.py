"""The model as the loop meets it: who learns when, how it is judged, what it draws, what its graph gives."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from spearhead.core.errors import InputError
from spearhead.core.sampler import Sampler
from spearhead.models.gan.config import PRESETS, Config, sizes
from spearhead.models.gan.export import Oneshot, Styles, export
from spearhead.models.gan.network import Gan, build
from spearhead.models.gan.style import StyleMaker
from spearhead.models.gan.tiny import kinds
from spearhead.models.pictures import Pictures, Shape, pack
from spearhead.nn import onnx_file

SMALL = {
    name: preset if name == "debug" else replace(preset, size=8, noise=16, width=64 if preset.maker == "mlp" else 16)
    for name, preset in PRESETS.items()
}


def small(name: str, shape: Shape, *, steps: int = 10, **changes: Any) -> Gan:
    return build(replace(SMALL[name], **changes), shape, steps=steps, seed=0)


def drawn(model: Gan, labels: Tensor, *, seed: int = 0, **options: Any) -> Tensor:
    *_, last = model.sample(labels, len(labels), rng=torch.Generator().manual_seed(seed), options=options)
    return last


def turn(model: Gan, batch: Pictures) -> dict[str, float]:
    """One turn without an optimiser."""
    said = {}
    for name, loss in model.losses(batch):
        model.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        said[name] = float(loss.detach())
    return said


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_every_preset_learns_draws_and_is_exported_as_it_is(name: str, shape: Shape, tmp_path: Path) -> None:
    model = small(name, shape)
    for _ in range(SMALL[name].critic_steps):
        said = turn(model, pack(kinds(6, seed=0)))
    assert set(said) == {"critic", "maker"} and all(np.isfinite(value) for value in said.values())
    labels = torch.tensor([0, 1, 2, 2, 1])
    pictures = drawn(model, labels)
    assert pictures.shape == (5, 1, 8, 8) and float(pictures.abs().max()) <= 1
    assert torch.equal(pictures, drawn(model, labels)) and not torch.equal(pictures, drawn(model, labels, seed=1))
    facts = export(model, tmp_path, shape)
    sampler = Sampler.from_json((tmp_path / "sampler.json").read_text())
    assert (sampler.kind, sampler.noise, sampler.size, sampler.classes) == ("oneshot", (16,), (8, 8), shape.classes)
    noise = torch.randn(5, 16, generator=torch.Generator().manual_seed(0))
    graph: nn.Module = Oneshot(model)
    asked = {"noise": noise, "label": labels}
    if isinstance(model.maker, StyleMaker):
        graph, layers = Styles(model.maker), torch.tensor([0, 1, 2, 1, 0])
        asked |= {"other": noise.flip(0), "layer": layers}
        assert sampler.layers == model.maker.layers == 2
    else:
        assert sampler.layers == 0
    assert onnx_file.require_equal(tmp_path / sampler.model, graph, asked, tolerance=1e-4) <= 1e-4
    with torch.no_grad():
        assert torch.allclose(Oneshot(model).eval()(noise, labels) * 2 - 1, pictures, atol=1e-6), "what sample draws"
    assert json.dumps(facts) and facts["rolled_back"] is False


def test_pictures_without_classes_and_in_colour_go_the_same_way(tmp_path: Path) -> None:
    shape = Shape(8, 8, 3)
    for name in ("debug", "style"):
        model = build(replace(SMALL[name], channels=3), shape, steps=10, seed=0)
        batch = Pictures(torch.rand(4, 3, 8, 8), torch.zeros(4, dtype=torch.long))
        assert set(turn(model, batch)) == {"critic", "maker"}
        export(model, tmp_path, shape)
        assert float(next(model.eval().losses(batch))[1]) > 0
        assert drawn(model, torch.zeros(3, dtype=torch.long)).shape == (3, 3, 8, 8)


def test_critic_and_maker_learn_in_their_own_turns(shape: Shape) -> None:
    model = small("debug", shape)
    owned = {name: list(parameters) for name, parameters in model.groups().items()}
    assert {id(p) for both in owned.values() for p in both} == {id(p) for p in model.parameters()}
    for name, loss in model.losses(pack(kinds(6, seed=0))):
        model.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        other = "maker" if name == "critic" else "critic"
        assert any(p.grad is not None and bool(p.grad.any()) for p in owned[name])
        assert all(p.grad is None for p in owned[other]), "no work for gradients that nobody uses"
        assert all(p.requires_grad for p in model.parameters())


def test_the_critic_has_several_steps_for_one_of_the_maker(shape: Shape) -> None:
    model = small("wgan-gp", shape, critic_steps=3)
    names = [list(turn(model, pack(kinds(4, seed=seed)))) for seed in range(6)]
    assert names == [["critic"], ["critic"], ["critic", "maker"]] * 2


def test_batch_norm_is_refused_by_name_in_several_processes_as_its_loss_mixes_a_batch(
    shape: Shape, tmp_path: Path
) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/meet", rank=0, world_size=1)
    try:
        with pytest.raises(InputError, match="normalise over the batch .dcgan. learns in one process alone"):
            turn(small("dcgan", shape), pack(kinds(6, seed=0)))
        assert set(turn(small("debug", shape), pack(kinds(6, seed=0)))) == {"critic", "maker"}
    finally:
        torch.distributed.destroy_process_group()
    assert "critic" in turn(small("dcgan", shape), pack(kinds(6, seed=0)))


def test_a_step_in_parts_counts_once(shape: Shape) -> None:
    model = small("debug", shape)
    for closes in (False, False, True):
        turn(model, pack(kinds(4, seed=0), closes=closes))
    assert int(model.taken) == 1


def test_the_penalty_and_the_augmentation_move_by_a_cosine_over_the_run(shape: Shape) -> None:
    model = small("debug", shape, penalty=2.0, penalty_end=0.2, augment_share=0.6, augment=("colour",))
    seen = []
    for progress in (0.0, 0.25, 0.5, 1.0):
        model.progress = progress
        seen.append(model.course())
        turn(model, pack(kinds(4, seed=0)))
    half = (1 - np.cos(np.pi / 4)) / 2  # of the way, after a quarter of the run
    assert seen[0] == (0.0, 2.0)
    assert seen[1] == pytest.approx((0.6 * half, 2 - 1.8 * half))
    assert seen[2] == pytest.approx((0.3, 1.1))
    assert seen[3] == pytest.approx((0.6, 0.2))


def test_the_critics_loss_is_its_papers_with_both_penalties(shape: Shape) -> None:
    """Put together here from the critic's scores and a gradient taken by autograd.functional."""
    model = small("debug", shape)
    batch = pack(kinds(3, seed=0))
    torch.manual_seed(7)
    (_, found) = next(model.losses(batch))
    torch.manual_seed(7)
    with torch.no_grad():
        made = model.maker(torch.randn(3, 16), batch.labels)
    expected = torch.nn.functional.softplus(
        model.critic(made, batch.labels) - model.critic(batch.pixels, batch.labels)
    ).mean()
    for pictures in (batch.pixels, made):
        slope = torch.autograd.functional.jacobian(  # type: ignore[no-untyped-call]
            lambda x: model.critic(x, batch.labels), pictures
        )
        own = torch.stack([slope[number, number] for number in range(3)])
        expected = expected + SMALL["debug"].penalty / 2 * own.square().sum((1, 2, 3)).mean()
    assert found.item() == pytest.approx(expected.item(), rel=1e-4)


def test_the_judgement_is_the_same_each_time_and_leaves_training_alone(shape: Shape, held: Pictures) -> None:
    model = small("dcgan", shape).eval()
    before = torch.get_rng_state()
    values = [float(next(model.losses(held))[1]) for _ in range(2)]
    assert values[0] == values[1] > 0
    assert torch.equal(before, torch.get_rng_state()) and int(model.taken) == 0


def test_a_collapsed_maker_is_judged_worse(shape: Shape) -> None:
    """The same maker, once with its noise and once deaf to it."""
    model = small("debug", shape).eval()
    batch = Pictures(drawn(model, torch.arange(300) % 3, seed=9), torch.arange(300) % 3)
    healthy = float(next(model.losses(batch))[1])
    with torch.no_grad():
        model.maker.weights.weight[:, : SMALL["debug"].noise] = 0  # type: ignore[union-attr, operator]
    collapsed = float(next(model.losses(batch))[1])
    assert healthy < 0.25 < 4 * healthy < collapsed


@pytest.mark.parametrize("name", ["debug", "style", "vanilla"])
def test_shorter_noise_narrows_what_is_drawn(name: str, shape: Shape) -> None:
    model = small(name, shape)
    labels = torch.zeros(64, dtype=torch.long)
    wide, narrow = drawn(model, labels).std(0).mean(), drawn(model, labels, truncation=0.2).std(0).mean()
    assert 0 < float(narrow) < 0.6 * float(wide)
    assert torch.equal(drawn(small(name, shape, truncation=0.2), labels), drawn(model, labels, truncation=0.2)), (
        "the configuration's truncation rules unless another is asked for"
    )


def test_mixing_is_for_a_style_maker(shape: Shape) -> None:
    labels = torch.zeros(4, dtype=torch.long)
    style = small("style", shape)
    assert isinstance(style.maker, StyleMaker)
    assert torch.equal(drawn(style, labels, mixing=style.maker.layers), drawn(style, labels))
    assert not torch.equal(drawn(style, labels, mixing=1), drawn(style, labels))
    with pytest.raises(InputError, match="wanted model.maker = 'style'"):
        drawn(small("debug", shape), labels, mixing=1)


def test_the_seed_makes_the_network(shape: Shape) -> None:
    one, same = small("debug", shape), small("debug", shape)
    other = build(SMALL["debug"], shape, steps=10, seed=1)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), same.parameters(), strict=True))
    assert not torch.equal(next(one.parameters()), next(other.parameters()))


def test_the_mapping_network_learns_slowly(shape: Shape) -> None:
    model = small("style", shape)
    shares = {name: list(given) for name, given in model.shares().items()}
    assert [share.rate for share in shares["maker"]] == [1.0, 0.01]
    assert all(share.betas == (0.0, 0.99) for given in shares.values() for share in given)
    for name, parameters in model.groups().items():
        owned = [id(p) for share in shares[name] for p in share.parameters]
        assert sorted(owned) == sorted(id(p) for p in parameters)


@pytest.mark.parametrize(("size", "near"), [(27, "28"), (9, "8 or 10"), (4, "8"), (1000, "896 or 1024")])
def test_a_size_that_cannot_be_made_is_refused_with_the_nearest(size: int, near: str) -> None:
    with pytest.raises(InputError, match=near):
        Config(size=size)


def test_a_network_of_plain_layers_makes_any_size() -> None:
    config = replace(PRESETS["vanilla"], size=9, width=64)
    model = build(config, Shape(9, 9, 1), steps=1, seed=0)
    assert drawn(model, torch.zeros(2, dtype=torch.long)).shape == (2, 1, 9, 9)
    assert sizes(64) == (4, 8, 16, 32, 64)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"noise": 0}, "model.noise"),
        ({"augment_share": 1.5}, "model.augment_share"),
        ({"loss": "wasserstein", "penalty": 0.0}, "needs its penalty"),
        ({"truncation": 0.0}, "model.truncation"),
    ],
)
def test_a_configuration_that_makes_no_sense_is_refused(changes: dict[str, Any], match: str) -> None:
    with pytest.raises(InputError, match=match):
        Config(**changes)


def test_labels_that_do_not_fit_are_refused(shape: Shape) -> None:
    model = small("debug", shape)
    rng = torch.Generator()
    with pytest.raises(InputError, match="wanted 0 to 2"):
        next(model.sample(torch.tensor([3]), 1, rng=rng, options={}))
    with pytest.raises(InputError, match="2 labels for 3 pictures"):
        next(model.sample(torch.tensor([0, 1]), 3, rng=rng, options={}))
    assert next(model.sample(torch.tensor([1]), 3, rng=rng, options={})).shape[0] == 3


def test_the_weights_keep_the_layout_that_a_checkpoint_gives_back(shape: Shape) -> None:
    """Fused AdamW goes through weight and state in memory order: another layout after a restart is another result."""
    for name in SMALL:
        assert all(parameter.is_contiguous() for parameter in small(name, shape).parameters()), name
