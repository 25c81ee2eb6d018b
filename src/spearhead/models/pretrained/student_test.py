"""A student in four bits: what it computes with is what a file holds, and what moves it is what its weights feel."""

from pathlib import Path

import numpy as np
import pytest
import torch

from spearhead.models.pretrained import tiny
from spearhead.models.pretrained.batch import Example, pack
from spearhead.models.pretrained.build import load
from spearhead.models.pretrained.student import Student
from spearhead.nn import weight_layouts

UP = "model.layers.1.mlp.up_proj"
TEXTS = pack([Example((5, 90, 17, 200, 33), 2), Example((60, 61, 62), 1), Example((7, 8), 1)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Louder than it is made, so that four bits are heard."""
    found = tiny.write(tmp_path_factory.mktemp("tiny") / "base")
    network = load(found)
    with torch.no_grad():
        for p in network.parameters():
            p.mul_(8 if p.ndim == 2 else 1)
    network.save_pretrained(found)
    return found


def student(folder: Path) -> Student:
    network = load(folder)
    rows = network.get_submodule(UP).weight.detach().numpy()
    coded = weight_layouts.encode(rows, layout="Q4_0")
    return Student(network, load(folder), {UP: weight_layouts.unpack(coded)})


def test_it_computes_with_what_the_file_holds_and_learns_codes_and_vectors_alone(folder: Path) -> None:
    model, exact = student(folder), load(folder).get_submodule(UP).weight.detach().numpy()
    held = weight_layouts.decode(weight_layouts.encode(exact, layout="Q4_0"), layout="Q4_0", shape=exact.shape)
    np.testing.assert_array_equal(model.network.get_submodule(UP).weight.detach().numpy(), held)
    learn = {name for name, p in model.named_parameters() if p.requires_grad}
    assert {name for name in learn if "norm" not in name} == {f"network.{UP}.parametrizations.weight.original"}
    with torch.no_grad():
        model.matrices_of[UP].add_(0.4)  # not yet another code
    np.testing.assert_array_equal(model.network.get_submodule(UP).weight.detach().numpy(), held)
    with torch.no_grad():
        model.matrices_of[UP].add_(20)
    assert model.learnt()[f"{UP}.weight"].max() == 7, "there are no codes beyond"


def test_its_loss_is_the_divergence_at_the_answers_and_its_step_that_of_the_weights(folder: Path) -> None:
    model = student(folder)
    ((_, loss),) = model.losses(TEXTS)
    loss.backward()  # type: ignore[no-untyped-call]
    # by hand: each sequence alone, plain weights, from the distributions themselves
    plain, full = load(folder), load(folder)
    weight = plain.get_submodule(UP).weight
    with torch.no_grad():
        weight.copy_(model.network.get_submodule(UP).weight)
    total, places = torch.zeros(()), 0
    for ids, prompt in (([5, 90, 17, 200, 33], 2), ([60, 61, 62], 1), ([7, 8], 1)):
        given = torch.tensor([ids])
        own, wanted = (one(input_ids=given).logits[0, prompt - 1 : -1].softmax(-1) for one in (plain, full))
        total = total + (wanted.detach() * (wanted.detach() / own).log()).sum()
        places += len(ids) - prompt
    (total / places).backward()  # type: ignore[no-untyped-call]
    assert loss.item() == pytest.approx(total.item() / places, rel=1e-3) and loss.item() > 1e-4
    scale = model.network.get_submodule(UP).parametrizations.weight[0].scale.repeat_interleave(32, 1)
    felt = model.matrices_of[UP].grad
    assert felt is not None and weight.grad is not None
    assert torch.allclose(felt, weight.grad * scale, rtol=1e-3, atol=1e-9)
    mine, theirs, apart = model.judged(TEXTS)
    assert float(apart.mean()) == pytest.approx(loss.item(), rel=1e-4)
    assert len(mine) == places == TEXTS.weight
    assert float(theirs[-1]) == pytest.approx(
        -full(input_ids=torch.tensor([[7]])).logits[0, 0].log_softmax(-1)[8].item(), rel=1e-4
    )
    assert not torch.equal(mine, theirs)
