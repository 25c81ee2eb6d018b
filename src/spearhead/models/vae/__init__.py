"""Variational autoencoders, flat and with two latent layers: what the catalogue sees. Imports no torch."""

from collections.abc import Generator, Mapping
from typing import Any

from spearhead.core.family import OF_EMBEDDINGS, OF_MATRICES, Family, Lesson, Task, Words
from spearhead.core.generation import Progress
from spearhead.core.sentence import said
from spearhead.models.vae.config import Config, impossible


def _begin(task: Task) -> Generator[Progress, None, Lesson]:
    """See `begin.begin`."""
    from spearhead.models.vae.begin import begin

    return (yield from begin(task))


def _words(config: Config) -> Words:
    vamp = said("models.vae.vamp", pseudo=config.pseudo)
    return [
        (said("models.vae.network"), config.network),
        (said("models.vae.prior"), vamp if config.prior == "vamp" else config.prior),
        (said("models.vae.likelihood"), config.likelihood),
    ]


def _found(facts: Mapping[str, Any]) -> Words:
    told = said(
        "models.vae.nats",
        nats=facts["held_nll"],
        error=facts["held_nll_error"],
        pictures=facts.get("held_pictures", "?"),
        draws=facts["held_nll_samples"],
    )
    return [(said("models.vae.held_out"), told)]


def _draws(config: Config) -> Mapping[str, float]:
    return {"truncation": 2}


FAMILY = Family(
    name="vae",
    config=Config,
    presets={
        "debug": Config(size=8, latent=4, hidden=16, pseudo=20),
        "default": Config(),
        "vamp": Config(prior="vamp"),
        "conv": Config(network="conv", hidden=32),
        "hierarchical": Config(network="hierarchical", prior="vamp"),
        "colour": Config(network="conv", likelihood="logistic", size=64, channels=3, hidden=32, latent=64),
    },
    begin=_begin,
    modality="image",
    impossible=impossible,
    unheard={**OF_EMBEDDINGS, **OF_MATRICES},
    draws=_draws,
    words=_words,
    found=_found,
)
