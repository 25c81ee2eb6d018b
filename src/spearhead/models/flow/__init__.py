"""Flow matching on a U-Net or a small transformer: what the catalogue sees. Imports no torch."""

from collections.abc import Generator, Mapping

from spearhead.core.family import OF_EMBEDDINGS, OF_MATRICES, Family, Lesson, Task, Words
from spearhead.core.generation import Progress
from spearhead.core.sampler import MOST_STEPS
from spearhead.core.sentence import said
from spearhead.models.flow.config import Config, impossible


def _begin(task: Task) -> Generator[Progress, None, Lesson]:
    """See `pictures.begin`."""
    from spearhead.models import pictures
    from spearhead.models.flow.export import export
    from spearhead.models.flow.network import build

    return (yield from pictures.begin(task, build=build, export=export))


def _words(config: Config) -> Words:
    drawn = said("models.flow.drawn", solver=config.solver, steps=config.steps, guidance=config.guidance)
    return [(said("models.flow.network"), config.network), (said("models.flow.solver"), drawn)]


def _draws(config: Config) -> Mapping[str, float]:
    return {"steps": MOST_STEPS, "guidance": 20}


FAMILY = Family(
    name="flow",
    config=Config,
    presets={
        "debug": Config(size=8, width=16, heads=2, blocks=1, steps=8),
        "default": Config(),
        "small": Config(width=48),
        "fine": Config(patch=1, width=32, levels=(1, 2, 4), blocks=1),
        "few": Config(leaps=0.25, steps=4, solver="euler", guidance=1.0),
        "dit": Config(network="dit", patch=4, width=144, blocks=6, heads=4),
        "colour": Config(size=64, channels=3, patch=4, width=64, levels=(1, 2), guidance=2.0),
    },
    begin=_begin,
    modality="image",
    impossible=impossible,
    unheard={**OF_EMBEDDINGS, **OF_MATRICES},
    draws=_draws,
    words=_words,
)
