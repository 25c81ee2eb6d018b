"""Tokenizers of pictures, FSQ and VQ: what the catalogue sees. Imports no torch."""

import math
from collections.abc import Generator, Mapping

from spearhead.core.family import Family, Lesson, Task
from spearhead.core.generation import Progress
from spearhead.models.tokenizer.config import Config


def _begin(task: Task) -> Generator[Progress, None, Lesson]:
    """See `begin.begin`."""
    from spearhead.models.tokenizer.begin import begin

    return (yield from begin(task))


def _unservable(config: Config) -> str:
    return "a tokenizer makes no pictures by itself: it is a codec that other models stand on"


def _words(config: Config) -> Mapping[str, str]:
    codes = math.prod(config.levels) if config.quantiser == "fsq" else config.codes
    return {"quantiser": config.quantiser, "codes": f"{codes:,}"}


FAMILY = Family(
    name="tokenizer",
    config=Config,
    presets={
        "debug": Config(size=8, levels=(5, 5), codes=25, width=8, halvings=1),
        "default": Config(),
        "vq": Config(quantiser="vq"),
        "colour": Config(size=64, channels=3, levels=(8, 8, 8, 6, 5), width=64, halvings=3),
    },
    begin=_begin,
    modality="image",
    unservable=_unservable,
    words=_words,
)
