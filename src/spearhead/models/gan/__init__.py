"""Generative adversarial networks for pictures: what the catalogue sees. Imports no torch."""

from collections.abc import Generator, Mapping

from spearhead.core.family import Family, Lesson, Task
from spearhead.core.generation import Progress
from spearhead.models.gan.config import PRESETS, Config, sizes


def _begin(task: Task) -> Generator[Progress, None, Lesson]:
    """See `pictures.begin`."""
    from spearhead.models import pictures
    from spearhead.models.gan.export import export
    from spearhead.models.gan.network import build

    return (yield from pictures.begin(task, build=build, export=export))


def _words(config: Config) -> Mapping[str, str]:
    return {
        "networks": f"{config.maker} maker, {config.critic} critic, width {config.width}",
        "loss": f"{config.loss}, penalty {config.penalty:g} to {config.penalty_end:g}",
    }


def _draws(config: Config) -> Mapping[str, float]:
    styles = len(sizes(config.size)) * config.depth if config.maker == "style" else 0
    return {"truncation": 2, **({"mixing": styles - 1} if styles else {})}


FAMILY = Family(
    name="gan",
    config=Config,
    presets=PRESETS,
    begin=_begin,
    modality="image",
    draws=_draws,
    words=_words,
    single="the gradients of gradients in its penalty are too small for half precision",
)
