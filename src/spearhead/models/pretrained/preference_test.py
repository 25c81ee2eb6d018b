"""Preferences: the loss and its gradients are the paper's, and records become pairs."""

import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import cast

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from spearhead.core import media
from spearhead.core.errors import InputError
from spearhead.core.family import Lesson, Preference, Task
from spearhead.core.record import Record
from spearhead.core.rights import Licence, Right
from spearhead.core.template import Template
from spearhead.media.text.tokens import Tokenizer
from spearhead.models.pretrained import FAMILY
from spearhead.models.pretrained.batch import Example
from spearhead.models.pretrained.build import build, load
from spearhead.models.pretrained.config import Base, Config
from spearhead.models.pretrained.network import Tuned
from spearhead.models.pretrained.preference import Pair, Preferring, Unmoved, dpo, encode, pack
from spearhead.store.home import Home

BASE = Base(licence="CC0-1.0", credit="none")
TEMPLATE = Template("plain", after="\n")


def policy(folder: Path, *, steps: int = 20, method: str = "lora", spread: float = 0.0) -> Tuned:
    """A tuned tiny model, its adapter moved by noise of `spread`."""
    config = Config(base=BASE, method=method, rank=4, alpha=8.0)  # type: ignore[arg-type]
    model = build(config, folder, steps=steps, seed=0)
    if spread:
        torch.manual_seed(5)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter.add_(torch.randn_like(parameter) * spread)
    return model


def greetings(folder: Path, names: Iterable[str], first: int = 0) -> list[Pair]:
    """Pairs in which a name is to be greeted politely."""
    triples = [(f"greet {name}", f"Good day, {name}.", f"Yo {name}!!") for name in names]
    tokenizer = Tokenizer.open(folder / "tokenizer.json")
    return encode(triples, tokenizer=tokenizer, template=TEMPLATE, longest=256, first=first).pairs


def test_the_loss_is_that_of_hand_worked_pairs() -> None:
    # log pi(w) = -10, log pi(l) = -12, log ref(w) = -11, log ref(l) = -11.5: the margin is 1 - (-0.5) = 1.5.
    margins = torch.tensor([1.5, -4.0, 0.0], dtype=torch.float64)
    by_hand = [math.log(1 + math.exp(-0.15)), math.log(1 + math.exp(0.4)), math.log(2)]
    assert dpo(margins, beta=0.1).tolist() == pytest.approx(by_hand, abs=1e-12)
    assert by_hand[0] == pytest.approx(0.620957, abs=1e-6)
    # A tenth taken to be the wrong way round: -log sigmoid(-x) is x more than -log sigmoid(x).
    smooth = [value + 0.1 * x for value, x in zip(by_hand, (0.15, -0.4, 0.0), strict=True)]
    assert dpo(margins, beta=0.1, smoothing=0.1).tolist() == pytest.approx(smooth, abs=1e-12)


@pytest.mark.parametrize("fast", [True, False])
def test_loss_and_gradients_equal_an_independent_computation(fast: bool, tiny: Path) -> None:
    pairs = greetings(tiny, ["Ada", "Bertrand", "C"])
    chosen = Preference(beta=0.3, smoothing=0.1, sft=0.2)
    ours = Preferring(policy(tiny, spread=0.1), chosen, pairs=3, steps=20)
    ours.policy.fast = fast
    ours.train()
    _, loss = next(ours.losses(pack(pairs)))
    torch.autograd.backward(loss)

    theirs, base = policy(tiny, spread=0.1).network, load(tiny)

    def answer(network: Callable[..., object], example: Example) -> Tensor:
        """Log-probability of each token of the answer, from all logits of one sequence."""
        logits = network(input_ids=torch.tensor([example.ids])).logits[0].double()  # type: ignore[attr-defined]
        every = torch.log_softmax(logits[:-1], dim=-1)
        return every[torch.arange(len(every)), torch.tensor(example.ids[1:])][example.prompt - 1 :]

    total = torch.zeros((), dtype=torch.float64)
    for pair in pairs:
        good, bad = answer(theirs, pair.chosen), answer(theirs, pair.rejected)
        with torch.no_grad():
            good_before, bad_before = answer(base, pair.chosen).sum(), answer(base, pair.rejected).sum()
        reward = 0.3 * ((good.sum() - good_before) - (bad.sum() - bad_before))
        total = total + -0.9 * functional.logsigmoid(reward) - 0.1 * functional.logsigmoid(-reward) - 0.2 * good.mean()
    expected = total / 3
    torch.autograd.backward(expected)
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    compared = 0
    for (name, mine), (_, other) in zip(ours.policy.network.named_parameters(), theirs.named_parameters(), strict=True):
        if other.grad is not None:
            torch.testing.assert_close(mine.grad, other.grad, rtol=2e-4, atol=2e-6, msg=name)
            compared += 1
    assert compared == 28  # two layers of seven matrices, two factors each


def test_an_adapter_that_takes_no_part_is_an_error(tiny: Path) -> None:
    made = policy(tiny)
    made.network.base_model.disable_adapter_layers()  # an adapter that is there and takes no part
    model = Preferring(made, Preference(), pairs=2, steps=20)
    model.train()
    with pytest.raises(Unmoved, match="no adapter is attached, or it is switched off"):
        next(model.losses(pack(greetings(tiny, ["Ada", "Bob"]))))
    short = Preferring(policy(tiny), Preference(), pairs=2, steps=2)
    with pytest.raises(Unmoved, match="after 0 steps"):
        short.insist()


@pytest.mark.parametrize("method", ["full", "none", "bottleneck"])
def test_without_an_adapter_to_switch_off_there_is_no_reference(method: str, tiny: Path) -> None:
    with pytest.raises(InputError, match="switched off"):
        Preferring(policy(tiny, method=method), Preference(), pairs=1, steps=20)
    assert method in FAMILY.unpreferring(Config(base=BASE, method=method))  # type: ignore[arg-type]


def test_without_a_pull_there_is_no_run(tiny: Path) -> None:
    with pytest.raises(InputError, match="above 0"):
        Preferring(policy(tiny), Preference(beta=0.0), pairs=1, steps=20)


def record(given: str, chosen: str, rejected: str | None) -> Record:
    """An admitted pair."""
    texts = {"input": given, "output": chosen, **({} if rejected is None else {"rejected": rejected})}
    return Record({name: media.text(text) for name, text in texts.items()}, Licence("CC0-1.0", Right(7), ""), "t")


def test_records_become_pairs_and_those_of_no_use_are_counted_or_refused(tiny: Path, tmp_path: Path) -> None:
    def begun(records: list[Record]) -> Lesson:
        task = Task(
            config=Config(base=BASE, rank=4),
            train=lambda: records,
            validation=lambda: [record("x", "yes", "no")],
            template=TEMPLATE,
            foundation=tiny,
            home=Home(tmp_path, tmp_path / "cache"),
            steps=20,
            preference=Preference(),
        )
        steps = FAMILY.begin(task)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                return cast(Lesson, end.value)

    long = "a" * 2000
    lesson = begun([record("x", "good", "bad"), record("y", "same", "same"), record("z", long, "bad")])
    assert lesson.facts == {"examples": 1, "too_long": 1, "alike": 1}
    with pytest.raises(InputError, match="1 have a chosen and a rejected answer that are the same"):
        begun([record("y", "same", "same")])
    with pytest.raises(InputError, match="has no rejected"):
        begun([record("x", "good", None)])
