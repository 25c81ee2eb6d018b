"""The lesson of a tokenizer: that of every picture family, its preview and facts made of held-out pictures."""

import dataclasses
from collections.abc import Generator, Iterator
from pathlib import Path

import numpy as np
import torch

from spearhead.core.family import Lesson, Steps, Task
from spearhead.core.generation import Progress
from spearhead.models import pictures
from spearhead.models.tokenizer.export import export
from spearhead.models.tokenizer.network import Tokenizer, build
from spearhead.models.tokenizer.quality import measure

SHOWN = 8
"""Held-out pictures in the preview: above as they are, below as they come back."""


def begin(task: Task) -> Generator[Progress, None, Lesson]:
    """See `pictures.begin`; the facts after training tell the error of held-out pictures and the codes in use."""
    lesson: Lesson = yield from pictures.begin(task, build=build, export=export)
    model: Tokenizer = lesson.model
    held = lesson.held

    def batches() -> Iterator[pictures.Pictures]:
        for start in range(0, len(held), 256):
            yield lesson.pack(held[start : start + 256])

    def finish(folder: Path) -> Steps:
        facts = yield from lesson.finish(folder)
        found = measure(model, batches())
        return {**facts, **{f"held_{name}": value for name, value in dataclasses.asdict(found).items()}}

    def preview() -> pictures.Pixels:
        given = lesson.pack(held[:SHOWN]).pixels
        was = model.training
        model.eval()
        with torch.no_grad():
            back = model.decode(model.encode(given))
        model.train(was)
        rows = (np.concatenate(list(pictures.pixels(part)), axis=1) for part in (given, back))
        return np.concatenate(list(rows), axis=0)

    return dataclasses.replace(lesson, finish=finish, preview=preview)
