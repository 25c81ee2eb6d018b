"""The share of outputs that lie among held-out pictures: do they look real? See `manifold`."""

from spearhead.metrics.manifold import Manifold

METRIC = Manifold("precision")
