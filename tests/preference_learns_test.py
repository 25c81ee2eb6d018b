"""A tuned model learns what is preferred, a restart changes nothing, and a run that does nothing is an error."""

import contextlib
import math
from collections.abc import Iterable
from pathlib import Path

import pytest
import torch

from spearhead.core.family import Preference
from spearhead.core.template import Template
from spearhead.media.text.tokens import Tokenizer
from spearhead.models.pretrained import tiny as tiny_model
from spearhead.models.pretrained.build import build
from spearhead.models.pretrained.config import Base, Config
from spearhead.models.pretrained.network import Tuned
from spearhead.models.pretrained.preference import Pair, Preferring, Unmoved, encode, pack
from spearhead.training import loop
from spearhead.training.batches import Batches, held_out
from spearhead.training.plan import Plan


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny llama."""
    return tiny_model.write(tmp_path_factory.mktemp("tiny") / "llama")


def policy(folder: Path, *, steps: int = 20) -> Tuned:
    """A tiny model with a fresh adapter."""
    return build(Config(base=Base("CC0-1.0", "none"), rank=4, alpha=8.0), folder, steps=steps, seed=0)


def greetings(folder: Path, names: Iterable[str], first: int = 0) -> list[Pair]:
    """Pairs in which a name is to be greeted politely."""
    triples = [(f"greet {name}", f"Good day, {name}.", f"Yo {name}!!") for name in names]
    tokenizer = Tokenizer.open(folder / "tokenizer.json")
    return encode(triples, tokenizer=tokenizer, template=Template("plain", after="\n"), longest=256, first=first).pairs


def run(tiny: Path, folder: Path | None = None, *, plan: Plan, until: int = 0) -> tuple[Preferring, list[loop.Step]]:
    """Train on greetings; ended after step `until` where that is given, as by ctrl-C."""
    learnt = greetings(tiny, ["Ada", "Bob", "Cy", "Dora", "Ed", "Flo", "Gus", "Hal", "Ida", "Jo", "Kay", "Lea"])
    held = greetings(tiny, ["Max", "Nora"], first=len(learnt))
    model = Preferring(policy(tiny, steps=plan.steps), Preference(plan.beta), pairs=14, steps=plan.steps)
    batches = Batches(learnt, pack, plan=plan)
    steps = []
    training = loop.train(model, batches, plan, validation=held_out(held, pack, plan=plan), folder=folder)
    for step in training:
        steps.append(step)
        if step.number == until:
            training.close()
    return model, steps


PLAN = Plan(steps=24, batch=4, micro_tokens=256, learning_rate=5e-3, validate_every=6, precision="fp32")


def scored(model: Tuned, pair: Pair) -> dict[int, float]:
    """Negative log-likelihood of the chosen (0) and the rejected answer (1)."""
    return {number: nll for number, nll, _ in model.score([pair.chosen, pair.rejected])}


def test_a_model_learns_what_is_preferred_and_says_so_as_it_trains(tiny: Path) -> None:
    model, steps = run(tiny, plan=PLAN)
    assert abs(steps[0].figures["margin"]) < 1e-4 and steps[0].loss == pytest.approx(math.log(2), abs=1e-4)
    last = steps[-1].figures
    assert last["accuracy"] == 1.0 and last["margin"] > 0.3
    assert last["margin"] == pytest.approx(last["chosen"] - last["rejected"])
    assert "validation_margin" not in steps[1].figures
    assert last["validation_accuracy"] == 1.0 and last["validation_margin"] > 0.3, "for names it has not seen, too"
    validated = [step.validation for step in steps if step.validation is not None]
    assert validated[-1] < validated[0] < math.log(2)
    # The adapter is back, and the base under it is as it was.
    [pair] = greetings(tiny, ["Zoe"])
    before = scored(policy(tiny), pair)
    with model.policy.without_adapter():
        off = scored(model.policy, pair)
    after = scored(model.policy, pair)
    assert off == pytest.approx(before, rel=1e-6)
    assert (after[1] - after[0]) - (before[1] - before[0]) > 3
    model.insist()


def test_a_restart_changes_nothing(tiny: Path, tmp_path: Path) -> None:
    calm, told = run(tiny, tmp_path / "calm", plan=PLAN)
    run(tiny, tmp_path / "cut", plan=PLAN, until=9)
    again, rest = run(tiny, tmp_path / "cut", plan=PLAN)
    assert rest[0].number == 10
    assert [(s.loss, s.validation, s.figures) for s in rest] == [(s.loss, s.validation, s.figures) for s in told[9:]]
    assert torch.equal(again.reference, calm.reference) and not calm.reference.isnan().any()
    for mine, theirs in zip(again.parameters(), calm.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_a_margin_that_stays_at_zero_is_an_error_that_says_what_was_seen(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Unmoved, match=r"after 5 steps .* raise training.learning_rate.*moved by at most 0.0e\+00"):
        run(tiny, plan=Plan(steps=24, batch=4, learning_rate=0.0))
    with monkeypatch.context() as patch:  # the reference that moves along with what it is compared with
        patch.setattr(Tuned, "without_adapter", lambda self: contextlib.nullcontext())
        with pytest.raises(Unmoved, match="reference moves along"):
            run(tiny, plan=Plan(steps=24, batch=2, learning_rate=5e-3))
