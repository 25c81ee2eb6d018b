"""Files that nothing here makes and people bring: GIF, TIFF, HEIF, AVIF, AVI, FLV, Matroska, WebM, Office, PDF."""

from spearhead.media.foreign.modality import ForeignModality

MODALITY = ForeignModality()
