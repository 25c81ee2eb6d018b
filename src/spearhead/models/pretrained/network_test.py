"""Packed and swift computation equal the plain one; scores and answers are what the model gives."""

from pathlib import Path

import pytest
import torch
from torch.nn import functional

from spearhead.models.pretrained import swift
from spearhead.models.pretrained import tiny as tiny_model
from spearhead.models.pretrained.batch import Example, pack
from spearhead.models.pretrained.build import build
from spearhead.models.pretrained.config import Base, Config
from spearhead.models.pretrained.network import Tuned

BASE = Base(licence="CC0-1.0", credit="none")


def tuned(folder: Path, method: str = "lora") -> Tuned:
    model = build(Config(base=BASE, method=method, rank=4, alpha=8.0), folder, steps=20, seed=0)  # type: ignore[arg-type]
    with torch.no_grad():
        torch.manual_seed(5)
        for p in model.parameters():
            if p.requires_grad:
                p.normal_(0, 0.1)
    return model


def plain_nll(model: Tuned, example: Example) -> float:
    """One sequence at a time through transformers, with all its logits."""
    with torch.no_grad():
        out = model.network(input_ids=torch.tensor([example.ids])).logits[0]
    ids = torch.tensor(example.ids)
    return float(functional.cross_entropy(out[example.prompt - 1 : -1], ids[example.prompt :], reduction="sum"))


@pytest.mark.parametrize("kind", ["llama", "qwen3", "mistral"])
@pytest.mark.parametrize("fast", [True, False])
def test_a_packed_score_equals_one_sequence_at_a_time(
    kind: str, fast: bool, tmp_path: Path, examples: list[Example]
) -> None:
    model = tuned(tiny_model.write(tmp_path / kind, kind=kind))
    model.fast = fast
    model.eval()
    assert model.packs
    scores = {i: (nll, count) for i, nll, count in model.score(examples[:9], micro_tokens=64)}
    for i, example in enumerate(examples[:9]):
        assert scores[i][0] == pytest.approx(plain_nll(model, example), rel=1e-5)
        assert scores[i][1] == len(example.ids) - 3


def test_a_padded_score_equals_one_sequence_at_a_time(tiny: Path, examples: list[Example]) -> None:
    model = tuned(tiny, "prefix")
    model.eval()
    assert not model.packs
    for i, nll, _ in model.score(examples[:9], micro_tokens=100):
        assert nll == pytest.approx(plain_nll(model, examples[i]), rel=1e-5)


@pytest.mark.parametrize("method", ["lora", "rslora"])
def test_the_swift_way_has_the_values_and_gradients_of_peft(method: str, tiny: Path, examples: list[Example]) -> None:
    model = tuned(tiny, method)
    assert swift.possible(model.causal)
    batch = pack(examples[:7])

    def gradients(fast: bool) -> tuple[float, dict[str, torch.Tensor]]:
        model.fast = fast
        model.zero_grad()
        loss = next(model.losses(batch))[1]
        torch.autograd.backward(loss)
        return loss.item(), {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}

    swift_loss, ours = gradients(True)
    peft_loss, theirs = gradients(False)
    assert model._swift is not None
    assert swift_loss == pytest.approx(peft_loss, rel=1e-6)
    assert ours.keys() == theirs.keys() and len(ours) == 28
    for name, grad in theirs.items():
        assert (ours[name] - grad).abs().max() <= 1e-5 * grad.abs().max(), name


def test_the_swift_way_follows_every_change_of_an_update(tiny: Path, examples: list[Example]) -> None:
    model = tuned(tiny)
    batch = pack(examples[:3])
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.05, fused=True)
    for _ in range(3):
        loss = next(model.losses(batch))[1]
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
    with torch.no_grad():
        ours = next(model.losses(batch))[1].item()
        model.fast = False
        assert ours == pytest.approx(next(model.losses(batch))[1].item(), rel=1e-6)


def test_the_swift_way_is_not_taken_where_it_would_be_wrong(tiny: Path, tmp_path: Path) -> None:
    dropped = build(Config(base=BASE, rank=4, dropout=0.1), tiny, steps=20, seed=0)
    assert not swift.possible(dropped.causal)
    for method in ("dora", "adalora", "ia3", "full", "bottleneck"):
        assert not swift.possible(tuned(tiny, method).causal), method
    assert not swift.possible(tuned(tiny_model.write(tmp_path / "q", kind="qwen3")).causal)


def test_an_answer_is_the_most_likely_one(tiny: Path, examples: list[Example]) -> None:
    model = tuned(tiny)
    prompts = [example.ids[:n] for n, example in zip((4, 9, 6), examples, strict=False)]
    answers = dict(model.complete(prompts, stop=2, longest=5, together=2))
    for i, prompt in enumerate(prompts):
        ids = list(prompt)
        for _ in range(5):
            with torch.no_grad():
                ids.append(int(model.network(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
            if ids[-1] == 2:
                ids.pop()
                break
        assert answers[i] == ids[len(prompt) :]


def test_the_same_seed_gives_the_same_samples(tiny: Path, examples: list[Example]) -> None:
    model = tuned(tiny)
    options = {"temperature": 1.0, "stop": 2, "longest": 6}

    def draw(seed: int) -> list[list[int]]:
        rng = torch.Generator().manual_seed(seed)
        return [one.tolist() for one in model.sample(examples[0].ids, 3, rng=rng, options=options)]

    assert draw(1) == draw(1) != draw(2)
    assert len({tuple(one) for one in draw(1)}) > 1
