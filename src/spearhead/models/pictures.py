"""What picture families share: pictures as tensors, their batches, and the way from records to a lesson.

Imports torch: only what a family's `begin` calls may import it. Knows no network.
"""

import functools
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from spearhead.core.errors import InputError
from spearhead.core.family import Lesson, Steps, Task
from spearhead.core.files import whole_folder
from spearhead.core.generation import Progress
from spearhead.core.record import Record
from spearhead.media.image.codec import read
from spearhead.nn.model import Model

Pixels = np.ndarray[Any, np.dtype[np.uint8]]


@dataclass(frozen=True, slots=True)
class Shape:
    """What every picture of a task has in common."""

    height: int
    width: int
    channels: int
    classes: tuple[str, ...] = ()
    """Names in the order of their labels; empty: the pictures carry no words."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One example: (h, w, c) uint8 and its class."""

    pixels: Pixels
    label: int = 0
    units: int = 1


@dataclass(frozen=True, slots=True)
class Pictures:
    """A micro-batch: `pixels` float32 (n, c, h, w) in [-1, 1], `labels` int64 (n,)."""

    pixels: Tensor
    labels: Tensor
    closes: bool = True
    """Whether it is the last of its optimiser step."""

    @property
    def examples(self) -> int:
        return len(self.pixels)

    @property
    def weight(self) -> int:
        return len(self.pixels)

    @property
    def units(self) -> int:
        return len(self.pixels)


class Sized(Protocol):
    """The fields that every picture family's configuration has."""

    @property
    def size(self) -> int: ...
    @property
    def channels(self) -> int: ...


def pack(examples: Sequence[Picture], *, closes: bool = True, device: str = "cpu") -> Pictures:
    """Examples as a batch on `device`; a lesson's `pack` puts them where its model is."""
    block = np.stack([example.pixels for example in examples])  # (n, h, w, c)
    pixels = torch.from_numpy(block).to(device).permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0).contiguous()
    labels = torch.tensor([example.label for example in examples], dtype=torch.long, device=device)
    return Pictures(pixels, labels, closes)


def pixels(values: Tensor) -> Pixels:
    """(n, c, h, w) in [-1, 1] as (n, h, w, c) uint8."""
    block = values.detach().float().clamp(-1, 1).add(1).mul(127.5).round().byte()
    return block.permute(0, 2, 3, 1).cpu().numpy()


def words(record: Record) -> str:
    """The class of a record: its `input`, or nothing."""
    return record.parts["input"].text.strip() if "input" in record.parts else ""


def classes(records: Sequence[Record] | Any) -> tuple[str, ...]:
    """The class names of the records, sorted; empty when none has one."""
    found = {words(record) for record in records}
    if found == {""}:
        return ()
    if "" in found:
        raise InputError("some pictures have a class and some have none: wanted an `input` on every record, or on none")
    return tuple(sorted(found))


def examples(records: Any, shape: Shape) -> list[Picture]:
    """Records as pictures of one shape."""
    numbers = {name: number for number, name in enumerate(shape.classes)}
    out = []
    for record in records:
        label = numbers.get(words(record), -1) if shape.classes else 0
        if label < 0:
            raise InputError(
                f"record {record.id} is of class {words(record)!r}, which no training record is of: bring more "
                "pictures of it, or leave it out"
            )
        block = read(record.parts["output"], size=(shape.height, shape.width), channels=_channels(shape.channels))
        out.append(Picture(block, label))
    return out


def _channels(count: int) -> Any:
    if count not in (1, 3, 4):
        raise InputError(f"model.channels is {count}: wanted 1, 3 or 4")
    return count


Build = Callable[..., Model]
"""`build(config, shape, *, steps, seed) -> Model`; `steps` is the most of a run, which a time budget may end
before: see `Model.progress`."""
Export = Callable[[Any, Path, Shape], Mapping[str, Any]]
"""`export(model, folder, shape)` writes `sampler.json` and the ONNX files into `folder` and gives facts for the report.

One of them is `difference`: by how much an output of the graph was seen to differ from the model's, at most."""


ROWS, COLUMNS = 10, 6
"""Of the preview's grid: a row for each of the first classes, or, without classes, as many rows as columns."""
LOOK = {"steps": 10}
"""How a preview is drawn: where a picture takes several steps, in so few that training does not wait for it."""


def begin(task: Task, *, build: Build, export: Export) -> Generator[Progress, None, Lesson]:
    """The lesson of a picture family: read, build, train, export; its preview has a row of samples for each class."""
    config = task.config
    yield Progress("training", 0, 1, "reading the pictures")
    shape = Shape(config.size, config.size, config.channels, classes(task.train()))
    learnt, held = examples(task.train(), shape), examples(task.validation(), shape)
    if not learnt:
        raise InputError("there is no picture to train on: every record was refused")
    if not held:
        raise InputError("no record is held out for validation: raise data.validation, or give more data")
    model = build(config, shape, steps=task.steps, seed=task.seed).to(task.device)

    def changed(number: int, rng: np.random.Generator) -> Picture:
        assert task.augment is not None
        before = learnt[number]
        return Picture(task.augment(before.pixels, rng), before.label)

    def finish(folder: Path) -> Steps:
        yield Progress("training", 1.0, 1.0, "writing the graph")
        model.eval()
        with whole_folder(folder / "parts") as parts:
            return dict(export(model, parts, shape))

    def preview() -> Pixels:
        count = min(ROWS, len(shape.classes)) or COLUMNS
        labels = torch.arange(count * COLUMNS) // COLUMNS % max(1, len(shape.classes))
        rng = torch.Generator().manual_seed(task.seed)
        was = model.training
        model.eval()
        with torch.no_grad():
            *_, last = model.sample(labels, len(labels), rng=rng, options=LOOK)
        model.train(was)
        rows = pixels(last)
        lines = [np.concatenate(list(rows[start : start + COLUMNS]), axis=1) for start in range(0, len(rows), COLUMNS)]
        return np.concatenate(lines, axis=0)

    return Lesson(
        model=model,
        examples=learnt,
        held=held,
        pack=functools.partial(pack, device=task.device),
        finish=finish,
        change=changed if task.augment is not None else None,
        facts={"examples": len(learnt), "parameters": sum(p.numel() for p in model.parameters())},
        preview=preview,
    )
