"""The share of held-out pictures with an output near by; unlike recall, odd outputs do not raise it."""

from spearhead.metrics.manifold import Manifold

METRIC = Manifold("coverage")
