"""Generative adversarial networks for pictures: what the catalogue sees. Imports no torch."""

from collections.abc import Generator, Mapping
from typing import Any

from spearhead.core.family import OF_EMBEDDINGS, OF_MATRICES, Family, Lesson, Task, Words
from spearhead.core.generation import Progress
from spearhead.core.sentence import said
from spearhead.models.gan.config import PRESETS, Config, sizes


def _begin(task: Task) -> Generator[Progress, None, Lesson]:
    """See `pictures.begin`."""
    from spearhead.models import pictures
    from spearhead.models.gan.export import export
    from spearhead.models.gan.network import build

    return (yield from pictures.begin(task, build=build, export=export))


def _words(config: Config) -> Words:
    two = said("models.gan.two", maker=config.maker, critic=config.critic, width=config.width)
    penalised = said("models.gan.penalised", loss=config.loss, first=config.penalty, last=config.penalty_end)
    return [(said("models.gan.networks"), two), (said("models.gan.loss"), penalised)]


def _found(facts: Mapping[str, Any]) -> Words:
    step, steps = facts["weights_of_step"], facts["trained_steps"]
    told = (
        said("models.gan.rolled_back", step=step, steps=steps)
        if facts["rolled_back"]
        else said("models.gan.last", step=step)
    )
    return [(said("models.gan.weights"), told)]


def _draws(config: Config) -> Mapping[str, float]:
    styles = len(sizes(config.size)) * config.depth if config.maker == "style" else 0
    return {"truncation": 2, **({"mixing": styles - 1} if styles else {})}


FAMILY = Family(
    name="gan",
    config=Config,
    presets=PRESETS,
    begin=_begin,
    modality="image",
    unheard={
        **OF_EMBEDDINGS,
        **OF_MATRICES,
        **dict.fromkeys(
            ("optimiser", "betas", "weight_decay"), "both networks learn by Adam as the paper of their loss has it"
        ),
    },
    draws=_draws,
    words=_words,
    found=_found,
    single="the gradients of gradients in its penalty are too small for half precision",
)
