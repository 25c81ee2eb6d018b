"""Whether a picture copies what its release learnt from: how like it is to the training picture most like it."""

from spearhead.review.nearest.check import NearestCheck

CHECK = NearestCheck()
