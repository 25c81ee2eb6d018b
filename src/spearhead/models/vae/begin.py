"""The lesson of an autoencoder: that of every picture family, and how likely it finds held-out pictures."""

import dataclasses
from collections.abc import Generator
from pathlib import Path

import torch

from spearhead.core.family import Lesson, Steps, Task
from spearhead.core.generation import Progress
from spearhead.models import pictures
from spearhead.models.vae.export import export
from spearhead.models.vae.likelihood import likelihood
from spearhead.models.vae.network import Vae, build

JUDGED = 256
"""Held-out pictures whose likelihood is told."""
SAMPLES = 100
AT_ONCE = 32


def begin(task: Task) -> Generator[Progress, None, Lesson]:
    """See `pictures.begin`; the facts after training tell `held_nll`, nats a picture, with its standard error."""
    lesson: Lesson = yield from pictures.begin(task, build=build, export=export)
    model: Vae = lesson.model
    held = lesson.held[:JUDGED]

    def finish(folder: Path) -> Steps:
        facts = yield from lesson.finish(folder)
        rng = torch.Generator(task.device).manual_seed(task.seed)
        rows = []
        for start in range(0, len(held), AT_ONCE):
            yield Progress("training", start, len(held), "likelihood of held-out pictures")
            rows.append(likelihood(model, lesson.pack(held[start : start + AT_ONCE]), samples=SAMPLES, rng=rng))
        found = -torch.cat(rows)
        error = float(found.std(correction=0)) / len(found) ** 0.5
        return {
            **facts,
            "held_nll": float(found.mean()),
            "held_nll_error": error,
            "held_nll_samples": SAMPLES,
            "held_pictures": len(held),
        }

    return dataclasses.replace(lesson, finish=finish)
