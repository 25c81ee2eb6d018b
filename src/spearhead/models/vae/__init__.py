"""Variational autoencoders, flat and with two latent layers: what the catalogue sees. Imports no torch."""

from collections.abc import Generator, Mapping

from spearhead.core.family import Family, Lesson, Task
from spearhead.core.generation import Progress
from spearhead.models.vae.config import Config


def _begin(task: Task) -> Generator[Progress, None, Lesson]:
    """See `begin.begin`."""
    from spearhead.models.vae.begin import begin

    return (yield from begin(task))


def _words(config: Config) -> Mapping[str, str]:
    prior = f"vamp, {config.pseudo} pseudo-pictures" if config.prior == "vamp" else config.prior
    return {"network": config.network, "prior": prior, "likelihood": config.likelihood}


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
    draws=_draws,
    words=_words,
)
