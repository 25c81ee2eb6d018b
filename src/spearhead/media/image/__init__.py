"""Pictures: PNG, JPEG and WebP, one frame each."""

from spearhead.media.image.modality import ImageModality

MODALITY = ImageModality()
