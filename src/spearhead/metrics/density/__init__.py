"""How densely real pictures lie around the outputs; unlike precision, one odd real picture hardly moves it."""

from spearhead.metrics.manifold import Manifold

METRIC = Manifold("density")
