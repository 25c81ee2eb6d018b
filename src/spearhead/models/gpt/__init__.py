"""Language models learnt from nothing, laid out as Qwen3: what the catalogue sees. Imports no torch."""

from collections.abc import Generator, Mapping

from spearhead.core.family import Family, Lesson, Task
from spearhead.core.generation import Progress
from spearhead.models.gpt.config import Config, plan, whole


def _begin(task: Task) -> Generator[Progress, None, Lesson]:
    """See `begin.begin`."""
    from spearhead.models.gpt.begin import begin

    return (yield from begin(task))


def _words(config: Config) -> Mapping[str, str]:
    full = whole(config)
    size = f"{full.depth} layers, {full.width} wide, {full.heads} heads, {full.context} tokens of context"
    return {"size": size, "words": full.words}


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
    words=_words,
)
