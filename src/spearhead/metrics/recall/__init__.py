"""The share of held-out pictures that lie among the outputs: is anything left out? See `manifold`."""

from spearhead.metrics.manifold import Manifold

METRIC = Manifold("recall")
