"""A run's figures and samples for TensorBoard and Weights & Biases, step by step. Changes nothing of the run."""

import html
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from spearhead.core.errors import InputError
from spearhead.training.loop import Step

Seen = np.ndarray[Any, np.dtype[np.uint8]] | str | None
"""What the model makes at a step: a grid of pictures (h, w, c), a text, or nothing."""
Log = Callable[[int, Mapping[str, float], Seen], None]
SAMPLES = "samples"


@contextmanager
def track(kinds: Sequence[str], folder: Path, *, name: str) -> Iterator[Callable[[Step, Seen], None]]:
    """Give a function that notes a step, and what was seen at it, in every tracker of `kinds` (tensorboard, wandb).

    Files lie in `folder`. Weights & Biases follows its own environment: `WANDB_MODE=offline` writes to the folder and
    sends nothing.
    """
    with ExitStack() as stack:
        logs = [stack.enter_context(_OPEN[_known(kind)](folder, name)) for kind in kinds]

        def note(step: Step, seen: Seen) -> None:
            values = figures(step)
            for log in logs:
                log(step.number, values, seen)

        yield note


def figures(step: Step) -> dict[str, float]:
    """A step's figures by the names that the trackers show."""
    found = {
        "loss/train": step.loss,
        "rate": step.rate,
        "gradient": step.norm,
        "speed/units_per_second": step.speed,
    }
    if len(step.losses) > 1:
        found |= {f"loss/{name}": value for name, value in step.losses.items()}
    found |= {f"figures/{name}": value for name, value in step.figures.items()}
    return found if step.validation is None else found | {"loss/validation": step.validation}


def _known(kind: str) -> str:
    if kind not in _OPEN:
        raise InputError(f"training.track names {kind!r}: wanted {' or '.join(_OPEN)}")
    return kind


@contextmanager
def _tensorboard(folder: Path, name: str) -> Iterator[Log]:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise InputError("training.track names tensorboard, which is not installed: pip install tensorboard") from error
    writer = SummaryWriter(str(folder / "tensorboard" / name))

    def log(step: int, values: Mapping[str, float], seen: Seen) -> None:
        for key, value in values.items():
            writer.add_scalar(key, value, step)
        if isinstance(seen, str):
            writer.add_text(SAMPLES, "\n".join(f"    {line}" for line in seen.splitlines()), step)  # Markdown: as it is
        elif seen is not None:
            writer.add_image(SAMPLES, seen, step, dataformats="HWC")

    try:
        yield log
    finally:
        writer.close()


@contextmanager
def _wandb(folder: Path, name: str) -> Iterator[Log]:
    try:
        import wandb
    except ImportError as error:
        raise InputError("training.track names wandb, which is not installed: pip install '.[wandb]'") from error
    folder.mkdir(parents=True, exist_ok=True)
    try:
        run = wandb.init(project="spearhead", name=name, dir=str(folder), reinit="finish_previous")
    except Exception as error:  # no key, no network: whatever the service's client meets
        raise InputError(f"wandb does not start ({error}): log in, or set WANDB_MODE=offline") from error

    def log(step: int, values: Mapping[str, float], seen: Seen) -> None:
        noted: dict[str, Any] = dict(values)
        if isinstance(seen, str):
            noted[SAMPLES] = wandb.Html(f"<pre>{html.escape(seen)}</pre>")
        elif seen is not None:
            noted[SAMPLES] = wandb.Image(seen)
        run.log(noted, step=step)

    try:
        yield log
    finally:
        run.finish()


_OPEN = {"tensorboard": _tensorboard, "wandb": _wandb}
