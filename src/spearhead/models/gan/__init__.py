"""Generative adversarial networks for pictures: what the catalogue sees. Imports no torch."""

from collections.abc import Generator, Mapping

from spearhead.core.family import Family, Lesson, Task
from spearhead.core.generation import Progress
from spearhead.models.gan.config import PRESETS, Config


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


FAMILY = Family(
    name="gan",
    config=Config,
    presets=PRESETS,
    begin=_begin,
    modality="image",
    words=_words,
    single="the gradients of gradients in its penalty are too small for half precision",
)
