"""The pass after calibration: a model in four bits learns for a few steps more to say what it said in full precision.

Needs no labels, and so nothing but texts of the kind that the model has learnt. Knows no scenario, writes no release.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from spearhead.core.errors import InputError
from spearhead.core.generation import Progress
from spearhead.nn import gguf_file, weight_layouts
from spearhead.nn.gguf_header import read_header
from spearhead.training.plan import Plan

LAYOUT = "Q4_0"
"""The layout that is tuned."""
RATE, VECTORS = 0.03, 3e-3
"""AdamW's rates, of codes and of vectors: so slow that few codes change, and those by what all batches say."""
BATCH = 16
LOGITS = 1 << 26
"""Numbers that the answers to one micro-batch take at most, about."""
LOOKS = 3
"""How often validation is looked at, so that the best of it is kept."""
Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, slots=True)
class Tuned:
    """What tuning did, measured on validation."""

    steps: int
    best_step: int
    before: float
    """Nats a wanted token that the calibrated numbers lose to full precision."""
    after: float
    """The same of the tuned ones."""
    divergence: tuple[float, float]
    """Nats a token that they diverge from the full model's distribution, before and after."""
    tokens: int
    """Validation tokens that were asked for."""
    changed: float
    """Share of the codes that are others now."""
    tensors: dict[str, Array] = field(default_factory=dict)
    """See `gguf_file.revise`; empty where it was no better, and what was calibrated stays."""

    def told(self) -> dict[str, Any]:
        """All but the numbers themselves, as JSON."""
        plain = {
            name: getattr(self, name)
            for name in ("steps", "best_step", "before", "after", "divergence", "tokens", "changed")
        }
        return {**plain, "better": self.better}

    @property
    def better(self) -> bool:
        """Whether the file is to hold what was tuned."""
        return bool(self.tensors)


def tune(
    merged: Path,
    rounded: Path,
    *,
    learn: Sequence[Any],
    held: Sequence[Any],
    steps: int,
    seed: int,
    folder: Path,
    device: str = "cpu",
) -> Generator[Progress, None, Tuned]:
    """Tune the file `rounded` (a GGUF in Q4_0) towards `merged` (a Hugging Face folder), its model in full precision.

    `learn` and `held` are `models.pretrained.batch.Example`s of training and of validation texts. Goes on from its last
    checkpoint in `folder`; the same seed gives the same bits. Changes neither of the two.
    """
    import torch

    from spearhead.models.pretrained import batch
    from spearhead.models.pretrained.build import load
    from spearhead.models.pretrained.student import Student
    from spearhead.training import batches, loop

    if not learn or not held:
        raise InputError("release.tune: there is no text to learn from, or none to validate on")
    yield Progress("tuning", 0, 1, "loading")
    file = read_header(rounded)
    codes = {
        name.removesuffix(".weight"): weight_layouts.unpack(coded)
        for name, coded in gguf_file.read_coded(file, LAYOUT).items()
    }
    if not codes:
        raise InputError(f"release.tune: {rounded.name} has no matrix in {LAYOUT}: its rows do not divide into blocks")
    teacher, network = load(merged), load(merged)
    state = yield from gguf_file.read_state(file)
    network.load_state_dict({name: torch.from_numpy(values) for name, values in state.items()}, strict=False)
    del state
    model = Student(network, teacher, codes, rate=RATE / VECTORS).to(device)
    teacher.to(device)
    plan = Plan(
        steps=steps,
        batch=min(BATCH, len(learn)),
        micro_tokens=max(1, LOGITS // int(network.config.vocab_size)),
        learning_rate=VECTORS,
        betas=(0.9, 0.99),
        decay=0.95,
        precision="fp32",
        validate_every=max(1, steps // LOOKS),
        save_every=max(1, steps // LOOKS),
        explosion=0.0,
        seed=seed,
        track=(),
    )
    asked = batches.held_out(held, batch.pack, plan=plan)
    yield Progress("tuning", 0, 1, "validating")
    first = model.learnt()
    before, apart, tokens = _lost(model, asked)
    order = batches.Batches(learn, batch.pack, plan=plan)
    run = loop.train(model, order, plan, validation=asked, folder=folder)
    while True:
        try:
            step = next(run)
        except StopIteration as end:
            ended: loop.Trained = end.value
            break
        yield Progress("tuning", step.progress, 1.0, f"divergence {step.loss:.4f} nats a token")
    after, nearer, _ = _lost(model, asked)
    found = model.learnt()
    others = sum(int((found[f"{name}.weight"] != first[f"{name}.weight"]).sum()) for name in codes)
    return Tuned(
        steps=ended.steps,
        best_step=ended.best_step,
        before=before,
        after=after,
        divergence=(apart, nearer),
        tokens=tokens,
        changed=others / sum(whole.size for _, whole in codes.values()),
        tensors=_written(found, codes) if after < before and nearer < apart else {},
    )


def _lost(model: Any, asked: Sequence[Any]) -> tuple[float, float, int]:
    """Mean nats a token that the student loses to its teacher and diverges from it, and over how many tokens."""
    model.eval()
    lost = apart = tokens = 0.0
    for micro in asked:
        mine, full, divergence = model.judged(micro)
        lost += float((mine.double() - full.double()).sum())
        apart += float(divergence.double().sum())
        tokens += len(mine)
    return lost / tokens, apart / tokens, int(tokens)


def _written(found: dict[str, Array], codes: dict[str, tuple[Array, Array]]) -> dict[str, Array]:
    """What was learnt as a file takes it: matrices as raw bytes under the scales they were tuned with."""
    written = dict(found)
    for name, (scale, _) in codes.items():
        whole = found[f"{name}.weight"]
        raw = weight_layouts.pack(scale.reshape(-1, 1), whole.reshape(-1, 32), bits=4)
        written[f"{name}.weight"] = raw.reshape(len(whole), -1)
    return written
