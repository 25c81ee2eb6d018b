"""Language models learnt from nothing, laid out as Qwen3: what the catalogue sees. Imports no torch."""

from collections.abc import Generator

from spearhead.core.family import OF_EMBEDDINGS, Family, Lesson, Task, Words
from spearhead.core.generation import Progress
from spearhead.core.sentence import said
from spearhead.models.gpt.config import Config, plan, whole


def _begin(task: Task) -> Generator[Progress, None, Lesson]:
    """See `begin.begin`."""
    from spearhead.models.gpt.begin import begin

    return (yield from begin(task))


def _words(config: Config) -> Words:
    full = whole(config)
    size = said("models.gpt.layers", depth=full.depth, width=full.width, heads=full.heads, context=full.context)
    return [(said("models.gpt.size"), size), (said("models.gpt.words"), full.words)]


FAMILY = Family(
    name="gpt",
    config=Config,
    presets={
        "debug": Config(depth=2, width=32, heads=2, key_heads=1, context=32),
        "default": Config(depth=6, context=256, dropout=0.1),
        "small": Config(depth=4, context=128),
    },
    begin=_begin,
    plan=plan,
    unheard=OF_EMBEDDINGS,
    words=_words,
)
