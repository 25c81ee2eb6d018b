"""What a scenario says about a variational autoencoder. Plain values, no torch."""

from dataclasses import dataclass
from typing import Literal

from spearhead.core.bounds import Channels, Count, Share


@dataclass(frozen=True, slots=True)
class Config:
    """The `[model]` table of a scenario whose family is `vae`.

    The defaults are the setting whose likelihood on FashionMNIST is published (arXiv 2004.04795, table 1): two gated
    layers of 300 units each way, 40 latent numbers, pixels drawn anew from the grey values in every pass.
    """

    size: Count = 28
    """Height and width of the pictures in pixels."""
    channels: Channels = 1
    """1: grey, 3: colour."""
    network: Literal["mlp", "conv", "hierarchical"] = "mlp"
    """`hierarchical` is the MLP with two layers of latent variables (arXiv 1705.07120, section 4)."""
    prior: Literal["gaussian", "vamp"] = "gaussian"
    """`vamp`: a mixture of the posteriors of learnt pseudo-pictures (arXiv 1705.07120, equation 9)."""
    likelihood: Literal["bernoulli", "logistic"] = "bernoulli"
    """`bernoulli` for grey pictures, binarised anew in every pass; `logistic` for 256 levels, also in colour."""
    latent: Count = 40
    """Latent numbers of each layer."""
    hidden: Count = 300
    """Units of a gated layer; feature maps of the first convolution of `conv`."""
    pseudo: Count = 500
    """Pseudo-pictures of the `vamp` prior."""
    warmup: Share = 0.2
    """Share of the run over which the divergence's weight rises from 0 to 1."""
    conditional: bool = True
    """Whether classes, where the pictures have them, steer what is made."""


def impossible(config: Config) -> str:
    """What of a configuration cannot be though each key alone can, as `key: sentence`; empty: nothing."""
    if config.likelihood == "bernoulli" and config.channels != 1:
        return f"likelihood 'bernoulli' is for grey pictures, model.channels is {config.channels}: wanted 'logistic'"
    return ""
