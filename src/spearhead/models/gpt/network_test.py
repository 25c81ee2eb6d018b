"""The network against transformers' Qwen3: the same numbers forward, the same gradients backward."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from spearhead.models.gpt import layer
from spearhead.models.gpt.batch import Example, pack
from spearhead.models.gpt.config import Config
from spearhead.models.gpt.export import settings
from spearhead.models.gpt.network import GPT

WORDS = 50


def shaken(config: Config) -> GPT:
    """A model whose every weight says something; fresh ones are zero here and there."""
    model = GPT(config, vocabulary=WORDS)
    with torch.no_grad():
        torch.manual_seed(0)
        for p in model.parameters():
            p.uniform_(0.5, 1.5) if p.ndim < 2 else p.normal_(0, 0.15)
    return model


def reference(model: GPT) -> Any:
    """transformers' model with copies of the weights."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    theirs = Qwen3ForCausalLM(Qwen3Config(**settings(model, end=None)))
    theirs.load_state_dict(model.state_dict())
    return theirs.eval()


@pytest.mark.parametrize(("key_heads", "tie"), [(4, False), (2, True), (1, False)])
def test_logits_and_gradients_are_those_of_transformers(key_heads: int, tie: bool) -> None:
    model = shaken(Config(depth=2, width=64, heads=4, key_heads=key_heads, context=32, tie=tie))
    theirs = reference(model)
    rng = torch.Generator().manual_seed(1)
    ids, labels = torch.randint(0, WORDS, (2, 5, 19), generator=rng)
    ours, wanted = model(ids), theirs(ids).logits
    assert (ours - wanted).abs().max() < 1e-4 < wanted.abs().max()
    for logits in (ours, wanted):
        torch.nn.functional.cross_entropy(logits.view(-1, WORDS), labels.view(-1)).backward()  # type: ignore[no-untyped-call]
    gradients = {name: p.grad for name, p in theirs.named_parameters()}
    for name, p in model.named_parameters():
        assert p.grad is not None
        assert (p.grad - gradients[name]).norm() < 1e-4 * gradients[name].norm(), name


def test_gradients_with_dropout_are_the_slopes_of_the_loss() -> None:
    seen = layer.frame(sequences=2, tokens=3, heads=2, key_heads=1, width=4, base=100.0, dropout=0.3)
    rng = torch.Generator().manual_seed(0)
    shapes = [(8,), (8, 8), (4, 8), (4, 8), (4,), (4,), (8, 8), (8,), (6, 8), (6, 8), (8, 6)]
    x, *weights = (torch.rand(shape, dtype=torch.float64, generator=rng) for shape in [(6, 8), *shapes])

    def run(x: Tensor, *weights: Tensor) -> Tensor:
        torch.manual_seed(5)
        return layer.run(x, weights, seen)

    given = tuple(each.sub_(0.4).requires_grad_() for each in (x, *weights))
    assert torch.autograd.gradcheck(run, given)
    torch.manual_seed(6)
    assert not torch.equal(layer.run(given[0], given[1:], seen), run(*given)), "something was dropped"


def test_only_answers_are_learnt_and_what_fills_a_row_changes_nothing() -> None:
    model = shaken(Config(depth=2, width=32, heads=2, context=32))
    rng = np.random.default_rng(0)
    examples = [Example(rng.integers(0, WORDS, n).astype(np.int32), given) for n, given in ((9, 3), (17, 8), (5, 1))]
    together = float(next(model.losses(pack(examples)))[1].detach())
    summed = 0.0
    for example in examples:
        ids = torch.from_numpy(example.ids.astype(np.int64))
        rows = torch.log_softmax(model(ids[None])[0], -1)
        summed -= sum(float(rows[at - 1, ids[at]].detach()) for at in range(example.prompt, len(ids)))
    assert pack(examples).weight == 6 + 9 + 4
    assert together == pytest.approx(summed / (6 + 9 + 4), rel=1e-5)


def test_a_fresh_model_finds_every_token_equally_likely() -> None:
    model = GPT(Config(depth=2, width=32, heads=2, context=8), vocabulary=WORDS)
    assert torch.equal(model(torch.tensor([[1, 2, 3]])), torch.zeros(1, 3, WORDS))


def test_half_precision_changes_a_loss_by_little_and_keeps_gradients_whole() -> None:
    model = shaken(Config(depth=2, width=32, heads=2, context=32))
    batch = pack([Example(np.arange(20, dtype=np.int32))])
    _, whole = next(model.losses(batch))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        _, half = next(model.losses(batch))
    half.backward()  # type: ignore[no-untyped-call]
    assert 0 < abs(float(half.detach()) - float(whole.detach())) < 0.05 * float(whole.detach())
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in model.parameters())


def test_sampling_with_one_seed_says_the_same_and_without_heat_the_likeliest() -> None:
    model = shaken(Config(depth=2, width=32, heads=2, context=8)).eval()

    def said(seed: int, **options: object) -> Tensor:
        rng = torch.Generator().manual_seed(seed)
        *_, last = model.sample([1, 2], 3, rng=rng, options={"max_tokens": 12, **options})
        return last

    assert said(0).shape == (3, 12) and torch.equal(said(0), said(0)) and not torch.equal(said(0), said(1))
    greedy = said(0, temperature=0)
    assert torch.equal(greedy[0], greedy[1]) and torch.equal(greedy, said(1, top_k=1))
    with torch.no_grad():
        assert int(greedy[0, 0]) == int(model(torch.tensor([[1, 2]]))[0, -1].argmax())
