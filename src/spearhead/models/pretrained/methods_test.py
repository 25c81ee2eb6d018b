"""Every method does what it is named."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from spearhead.core.errors import InputError
from spearhead.models.pretrained.batch import Example, pack
from spearhead.models.pretrained.build import build
from spearhead.models.pretrained.config import METHODS, Base, Config
from spearhead.models.pretrained.methods import Bottleneck
from spearhead.models.pretrained.network import NONE, Perturbation, Tuned

BASE = Base(licence="CC0-1.0", credit="none")


def tuned(tiny: Path, method: str, *, steps: int = 20, perturbation: Perturbation = NONE, **more: Any) -> Tuned:
    config = Config(base=BASE, method=method, rank=4, alpha=8.0, **more)  # type: ignore[arg-type]
    return build(config, tiny, steps=steps, seed=0, perturbation=perturbation)


def learn(model: Tuned, examples: list[Example], *, steps: int = 20, rate: float = 1e-2) -> None:
    """The shortest loop there is: the optimiser steps while the model waits at its loss."""
    optimiser = torch.optim.AdamW(list(model.groups()["loss"]), lr=rate, fused=True)
    model.train()
    for step in range(steps):
        start = 8 * step % len(examples)
        for _, loss in model.losses(pack(examples[start : start + 8])):
            optimiser.zero_grad()
            torch.autograd.backward(loss)
            optimiser.step()


def logits(model: Tuned, example: Example) -> Tensor:
    model.eval()
    with torch.no_grad():
        out: Tensor = model.network(input_ids=torch.tensor([example.ids])).logits[0, -len(example.ids) :]
    return out


@pytest.mark.parametrize("method", [method for method in METHODS if method != "none"])
def test_a_method_lowers_the_loss_and_changes_only_its_own_weights(
    method: str, tiny: Path, examples: list[Example]
) -> None:
    model = tuned(tiny, method)
    frozen = {name: p.detach().clone() for name, p in model.named_parameters() if not p.requires_grad}
    before = sum(nll for _, nll, _ in model.score(examples[:8]))
    learn(model, examples[:8])
    after = sum(nll for _, nll, _ in model.score(examples[:8]))
    assert after < before * 0.999
    for name, p in model.named_parameters():
        if name in frozen and "lora_E" not in name:
            assert torch.equal(p, frozen[name]), name


def test_none_has_nothing_to_learn(tiny: Path) -> None:
    assert not list(tuned(tiny, "none").groups()["loss"])


def test_rslora_scales_by_the_root_of_the_rank(tiny: Path) -> None:
    plain, stable = tuned(tiny, "lora"), tuned(tiny, "rslora")
    layer = "model.layers.0.mlp.down_proj"
    assert plain.causal.get_submodule(layer).scaling["default"] == 8.0 / 4
    assert stable.causal.get_submodule(layer).scaling["default"] == 8.0 / math.sqrt(4)


def test_dora_learns_a_magnitude_for_every_output(tiny: Path, examples: list[Example]) -> None:
    model = tuned(tiny, "dora")
    magnitudes = {n: p.detach().clone() for n, p in model.named_parameters() if "magnitude" in n}
    assert len(magnitudes) == 14  # seven linear layers in each of two layers
    learn(model, examples, steps=3)
    assert all(not torch.equal(p, magnitudes[n]) for n, p in model.named_parameters() if n in magnitudes)


def test_adalora_takes_rank_where_it_matters_least(tiny: Path, examples: list[Example]) -> None:
    model = tuned(tiny, "adalora", steps=24)
    learn(model, examples, steps=24)
    ranks = [int((p.abs() > 0).sum()) for n, p in model.named_parameters() if "lora_E" in n]
    assert len(ranks) == 14
    assert sum(ranks) <= 4 * 14 < 6 * 14, "the budget went from 6 a matrix to 4 on average"
    assert len(set(ranks)) > 1, "and not evenly: some matrices keep more than others"
    pattern = model.network.peft_config["default"].rank_pattern
    assert sorted(sum(row) for row in pattern.values()) == sorted(ranks)


def test_adalora_settles_its_ranks_in_a_run_that_a_time_budget_ends_early(tiny: Path, examples: list[Example]) -> None:
    model = tuned(tiny, "adalora", steps=1000)
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    for number in range(12):
        model.progress = (number + 0.5) / 12  # a step of it is 83 of the plan's
        for _, loss in model.losses(pack(examples[:8])):
            torch.autograd.backward(loss)
            optimiser.step()
        optimiser.zero_grad()
    ranks = [int((p.abs() > 0).sum()) for n, p in model.named_parameters() if "lora_E" in n]
    assert sum(ranks) <= 4 * 14 and len(set(ranks)) > 1, "from 6 a matrix to 4 on average, as in a run of 1,000 steps"
    assert model.network.peft_config["default"].rank_pattern is not None


def test_ia3_scales_keys_values_and_the_feed_forward(tiny: Path, examples: list[Example]) -> None:
    model = tuned(tiny, "ia3")
    layer = model.causal.model.layers[0].self_attn.k_proj
    x = torch.randn(3, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        layer.ia3_l["default"].fill_(2.0)
        assert torch.allclose(layer(x), 2 * layer.base_layer(x))
    names = {n.split(".ia3_l")[0].rpartition(".")[2] for n, p in model.named_parameters() if p.requires_grad}
    assert names == {"k_proj", "v_proj", "down_proj"}


def test_prefix_puts_keys_and_values_into_the_cache(tiny: Path, examples: list[Example]) -> None:
    base, model = tuned(tiny, "none"), tuned(tiny, "prefix")
    cache = model.network.get_prompt(batch_size=1)
    assert cache.get_seq_length() == 4
    example = examples[0]
    before = logits(model, example)
    assert (before - logits(base, example)).abs().max() > 1e-4
    learn(model, examples, steps=5)
    assert (logits(model, example) - before).abs().max() > 1e-4


def test_prompt_puts_vectors_before_the_words(tiny: Path, examples: list[Example]) -> None:
    base, model = tuned(tiny, "none"), tuned(tiny, "prompt")
    example = examples[0]
    vectors = model.network.get_prompt(batch_size=1)  # (1, 4, width)
    words = base.network.get_input_embeddings()(torch.tensor([example.ids]))
    with torch.no_grad():
        whole = base.network(inputs_embeds=torch.cat([vectors, words], dim=1)).logits[0, 4:]
    assert torch.allclose(logits(model, example), whole, atol=1e-5)


def test_a_bottleneck_starts_as_the_base_and_adds_to_each_sublayer(tiny: Path, examples: list[Example]) -> None:
    base, model = tuned(tiny, "none"), tuned(tiny, "bottleneck")
    assert torch.equal(logits(model, examples[0]), logits(base, examples[0]))
    assert sum(isinstance(module, Bottleneck) for module in model.modules()) == 4
    learn(model, examples, steps=3)
    assert not torch.allclose(logits(model, examples[0]), logits(base, examples[0]), atol=1e-4)


def test_a_bottleneck_adds_what_houlsby_writes() -> None:
    inner = torch.nn.Linear(5, 5)
    layer = Bottleneck(inner, width=5, inner=2, dtype=torch.float32)
    with torch.no_grad():
        layer.up.weight.normal_()
    x = torch.randn(4, 5)
    y = inner(x)
    hidden = y @ layer.down.weight.T + layer.down.bias
    gelu = hidden * 0.5 * (1 + torch.erf(hidden / math.sqrt(2)))
    assert torch.allclose(layer(x), y + gelu @ layer.up.weight.T + layer.up.bias, atol=1e-6)


@pytest.mark.parametrize("method", ["lora", "bottleneck", "full"])
def test_nothing_below_the_first_layer_learns(method: str, tiny: Path, examples: list[Example]) -> None:
    model = tuned(tiny, method, first_layer=1)
    learning = [name for name, p in model.named_parameters() if p.requires_grad]
    assert learning and all("layers.1." in name for name in learning)
    learn(model, examples, steps=2)


def test_noise_is_added_only_while_training(tiny: Path, examples: list[Example]) -> None:
    model = tuned(tiny, "lora", perturbation=Perturbation(noise=5.0))
    batch = pack(examples[:4])
    model.eval()
    calm = [next(model.losses(batch))[1].item() for _ in range(2)]
    assert calm[0] == calm[1]
    model.train()
    torch.manual_seed(0)
    noisy = [next(model.losses(batch))[1].item() for _ in range(2)]
    assert noisy[0] != noisy[1] and noisy[0] != calm[0]
    noise = model._noise(batch, torch.zeros(batch.units, 64))
    first = noise[: batch.lengths[0]]
    assert first.abs().max() <= 5.0 / math.sqrt(batch.lengths[0] * 64)
    assert first.abs().max() > 4.5 / math.sqrt(batch.lengths[0] * 64)


@pytest.mark.parametrize("kind", ["fgm", "freelb"])
def test_an_adversarial_step_raises_the_loss(kind: Any, tiny: Path, examples: list[Example]) -> None:
    batch = pack(examples[:6])
    clean = tuned(tiny, "lora")
    clean.train()
    model = tuned(tiny, "lora", perturbation=Perturbation(adversarial=kind, size=0.3))
    model.train()
    torch.manual_seed(0)
    calm, attacked = next(clean.losses(batch))[1], next(model.losses(batch))[1]
    assert attacked.item() > calm.item() * 1.001
    torch.autograd.backward(attacked)
    assert any(p.grad is not None and p.grad.abs().max() > 0 for p in model.parameters())
    model.eval()
    clean.eval()
    assert next(model.losses(batch))[1].item() == next(clean.losses(batch))[1].item()


def test_impossible_wishes_are_answered_in_a_sentence(tiny: Path) -> None:
    with pytest.raises(InputError, match="first_layer is 9: wanted 0 to 1"):
        tuned(tiny, "lora", first_layer=9)
    with pytest.raises(InputError, match="works on every layer"):
        tuned(tiny, "prefix", first_layer=1)
    for method in ("lora", "ia3"):
        with pytest.raises(InputError, match="model.targets: 'v_prj', which the model does not have: .* v_proj"):
            tuned(tiny, method, targets=("q_proj", "v_prj"))
    with pytest.raises(InputError, match="at least 10 steps"):
        tuned(tiny, "adalora", steps=5)
